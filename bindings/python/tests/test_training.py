"""Runs: settings, progress, stops, and what they leave."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import veridical
from conftest import SHORT, read, train


def test_a_run_leaves_what_the_command_does(points, tmp_path):
    steps = []
    outcome = veridical.train(points, tmp_path / "run", settings=SHORT, progress=steps.append)
    assert outcome.end == "finished" and outcome.steps == 4 and outcome.out == tmp_path / "run"
    assert "finished after 4 steps" in repr(outcome)
    assert [step.step for step in steps] == [1, 2, 3, 4] and steps[-1].seen == steps[-1].images == 256
    assert steps[0].steps == 4 and steps[0].loss > 0 and steps[0].learning_rate > 0
    for name in ["config.toml", "log.jsonl", "report.html", "model.safetensors"]:
        assert (tmp_path / "run" / name).is_file(), name
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["seen"] == 256 or any(line.get("seen") == 256 for line in lines)
    with veridical.load(tmp_path / "run") as model:
        np.testing.assert_array_equal(model.sample(3, seed=1), outcome.model.sample(3, seed=1))


def test_equal_runs_are_equal_and_settings_count(points, tmp_path):
    weights = lambda outcome: read(outcome.out / "model.safetensors")[0]
    a, b, c = (weights(train(points, tmp_path / name, **{"train.seed": seed})) for name, seed in [("a", 1), ("b", 1), ("c", 2)])
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not all(np.array_equal(a[name], c[name]) for name in a)
    config = (tmp_path / "a" / "config.toml").read_text()
    assert "seed = 1" in config and "images = 256" in config and "arrays in memory" in config


def test_settings_of_every_type(points, tmp_path):
    outcome = train(
        points,
        tmp_path / "run",
        **{"train.images": np.int64(128), "optimizer.lr": np.float32(0.5) / 500, "data.labels": False, "average.power": [0.1]},
    )
    config = (tmp_path / "run" / "config.toml").read_text()
    assert outcome.steps == 2 and "lr = 0.001" in config and "power = [0.1]" in config and "labels = false" in config


def test_sets_in_the_binary_and_files_of_settings(points, tmp_path):
    assert train("synthetic:two-moons", tmp_path / "a").end == "finished"
    np.save(tmp_path / "points.npy", points)
    first = train(tmp_path / "points.npy", tmp_path / "b")
    again = veridical.train(tmp_path / "points.npy", tmp_path / "c", config=tmp_path / "b" / "config.toml")
    a, b = (read(run.out / "model.safetensors")[0] for run in (first, again))
    assert again.steps == 4 and all(np.array_equal(a[name], b[name]) for name in a)
    assert train(points, tmp_path / "d", **{"train.images": 64}).steps == 1
    init = veridical.train(points, tmp_path / "e", init=first.out, settings=SHORT)
    assert init.steps == 4 and "init = " in (tmp_path / "e" / "config.toml").read_text()


def test_what_is_wrong_says_what_to_do(points, tmp_path):
    train(points, tmp_path / "there")
    for call, words in [
        (lambda: train(points, tmp_path / "x", **{"train.colour": 1}), "unknown key train.colour"),
        (lambda: train(points, tmp_path / "x", **{"train.batch": "many"}), "batch"),
        (lambda: train(points, tmp_path / "there"), "--overwrite"),
        (lambda: train("nowhere", tmp_path / "x"), "no such file"),
        (lambda: train(points * np.nan, tmp_path / "x"), "not finite"),
        (lambda: train((points, [1, 2]), tmp_path / "x"), "labels"),
        (lambda: veridical.train(points, tmp_path / "x", preset="none"), "preset"),
        (lambda: veridical.train(points, tmp_path / "there", resume=True, preset="points"), "leave out preset"),
        (lambda: veridical.train(points, tmp_path / "there", minutes=-1.0, overwrite=True), "--minutes"),
    ]:
        with pytest.raises(veridical.InvalidInput, match=words):
            call()
        assert not (tmp_path / "x").exists()
    with pytest.raises(TypeError, match="a setting is"):
        train(points, tmp_path / "x", **{"train.batch": None})
    assert veridical.train(points, tmp_path / "there", settings=SHORT, overwrite=True).steps == 4


def test_a_run_goes_on(points, tmp_path):
    whole = train(points, tmp_path / "whole")

    class Enough(Exception):
        pass

    def stop(progress):
        if progress.step == 2:
            raise Enough("two steps are enough")

    with pytest.raises(Enough, match="two steps"):
        veridical.train(points, tmp_path / "parts", settings=SHORT, progress=stop)
    rest = []
    outcome = veridical.train(points, tmp_path / "parts", resume=True, progress=lambda p: rest.append(p.step))
    assert outcome.end == "finished" and rest == [3, 4]
    a, b = (read(run.out / "model.safetensors")[0] for run in (whole, outcome))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_out_of_time_says_so(points, tmp_path):
    outcome = veridical.train(points, tmp_path / "run", settings=SHORT, minutes=0.0)
    assert outcome.end == "out of time"


def test_notes_go_to_the_logger(points, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "veridical"):
        train(points, tmp_path / "run")
    assert "400" in caplog.text and "parameters on" in caplog.text


LONG = """
    import signal, sys, numpy as np, veridical
    # Whoever runs the tests in the background may have them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    points = np.random.default_rng(0).normal(size=(400, 2)).astype("float32")
    def said(progress):
        if progress.step == 3:
            print("under way", flush=True)
    try:
        veridical.train(points, sys.argv[1], settings={"train.images": 10**9, "train.batch": 64, "train.device": "cpu"}, progress=said)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(3)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_stops_a_run_with_a_checkpoint(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(LONG), str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "under way\n"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    # Within about a second, most of which the last picture and the report may take; far more only where nothing is heeded.
    assert time.monotonic() - started < 10
    assert process.wait(timeout=30) == 3
    checkpoints = list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert checkpoints
    assert veridical.load(tmp_path / "run").shape


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_stops_a_call(gaussian):
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            gaussian.sample(200_000, steps=5000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert time.monotonic() - started < 10
    assert gaussian.sample(2).shape[0] == 2
