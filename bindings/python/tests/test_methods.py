"""The methods, in their shortest runs, and the one that has an exact theory beside it."""

import json

import numpy as np
import pytest

import veridical
from conftest import SHORT, SMALL

NO_JUDGE = {"judge.images": 0}


@pytest.fixture(scope="module")
def noisy(points):
    clean, rest = points[:40], points[40:]
    return clean, rest + 0.3 * np.random.default_rng(1).normal(size=rest.shape).astype(np.float32)


def test_sfbd(noisy, tmp_path):
    clean, rest = noisy
    rounds = {"sfbd.rounds": 1, "sfbd.round_images": 128, "sfbd.steps": 3, **NO_JUDGE}
    outcome = veridical.sfbd(clean, tmp_path / "run", noisy=rest, sigma=0.3, settings={**SHORT, **rounds})
    assert outcome.end == "finished" and [stage["round"] for stage in outcome.figures] == [0, 1]
    assert outcome.model.sample(3, steps=3).shape[0] == 3
    assert "noisy arrays in memory" in (tmp_path / "run" / "config.toml").read_text()
    with pytest.raises(veridical.InvalidInput, match="noisy without sigma"):
        veridical.sfbd(clean, tmp_path / "other", noisy=rest)


def test_sfbd_puts_noise_on_clean_images(points, tmp_path):
    settings = {**SHORT, **NO_JUDGE, "sfbd.rounds": 1, "sfbd.round_images": 64, "sfbd.steps": 3, "noisy.clean_share": 0.2}
    assert veridical.sfbd(points, tmp_path / "run", sigma=0.5, settings=settings).end == "finished"


def test_ambient(noisy, tmp_path):
    clean, rest = noisy
    settings = {**SHORT, **NO_JUDGE, "ambient.consistency": 0.0}
    outcome = veridical.ambient(clean, tmp_path / "run", noisy=rest, sigma=0.3, settings=settings)
    assert outcome.end == "finished" and outcome.steps == 4 and outcome.model is not None
    resumed = veridical.ambient(clean, tmp_path / "run", noisy=rest, sigma=0.3, resume=True)
    assert resumed.steps == 4


def test_csc(trained, points, tmp_path):
    settings = {**SHORT, **NO_JUDGE, "csc.method": "plain", "csc.steps": 3, "csc.measured_steps": [3]}
    outcome = veridical.csc(trained.out, points, tmp_path / "run", preset="points", settings=settings)
    assert outcome.end == "finished" and outcome.steps == 4


def test_kdgan(tmp_path):
    settings = {"data.labelled": 50, "steps.student": 4, "steps.pretraining": 2, "steps.batch": 10, "train.device": "cpu"}
    outcome = veridical.kdgan("digits", tmp_path / "run", settings=settings)
    assert outcome.end == "finished" and outcome.model is None
    assert 0 <= outcome.figures["student_accuracy"] <= 1
    assert outcome.figures == json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_triple_gan(tmp_path):
    settings = {
        "data.labelled": 50,
        "triple_gan.iterations": 2,
        "triple_gan.pretraining": 1,
        "triple_gan.baseline": "supervised",
        "train.device": "cpu",
    }
    outcome = veridical.triple_gan("digits", tmp_path / "run", settings=settings)
    assert outcome.end == "finished" and 0 <= outcome.figures["error"] <= 1


def test_collapse_is_as_its_theory_says():
    # A table of k tokens, drawn from itself again and again: E|p_t - p|^2 = (1 - sum p^2) (1 - (1 - 1/n)^(t+1)).
    found = veridical.collapse(family="categorical", vocab=20, zipf=1.0, arm="replace", rounds=10, samples=50, repeats=400, seed=1)
    p = 1 / np.arange(1, 21)
    p /= p.sum()
    spread = 1 - (p**2).sum()
    assert found["v"] == pytest.approx(spread)
    risk = found["measures"]["risk"]
    for t in range(11):
        exact = spread * (1 - (1 - 1 / 50) ** (t + 1))
        assert risk["theory"][t] == pytest.approx(exact)
        assert abs(risk["mean"][t] - exact) < 5 * risk["stderr"][t]
    assert found["n"] == [50] * 11 and found["seed"] == 1
    for options, words in [({"family": "cats"}, "cats"), ({"rouns": 3}, "rouns"), ({"out": "x"}, "returned")]:
        with pytest.raises(veridical.InvalidInput, match=words):
            veridical.collapse(**options)
