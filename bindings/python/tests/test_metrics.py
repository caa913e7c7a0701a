"""Every metric beside values of NumPy, SciPy and scikit-learn, and beside closed forms."""

import numpy as np
import pytest

from veridical import metrics

rng = np.random.default_rng(1)


def found(golden, prefix, file="metrics"):
    """The cases of an operation: parameters, inputs, outputs."""
    import json

    tensors, metadata = golden(file)
    cases = [case for case in json.loads(metadata["veridical.cases"]) if case["op"] == prefix]
    assert cases, prefix
    for case in cases:
        of = lambda side: {key.split("/")[-1]: value for key, value in tensors.items() if key.startswith(f"{case['id']}/{side}/")}
        yield case["params"], of("in"), {name: float(value) for name, value in of("out").items()}


def close(value, expected):
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_frechet_distance(golden):
    for _, arrays, expected in found(golden, "frechet_distance"):
        assert metrics.frechet_distance(**arrays) == pytest.approx(expected["distance"], rel=1e-8, abs=1e-8)


def test_a_shifted_sample_is_as_far_as_it_was_shifted():
    a, shift = rng.normal(size=(50, 3)), np.array([0.5, -1.0, 2.0])
    close(metrics.frechet_distance(a, a + shift), shift @ shift)
    close(metrics.wasserstein_1d(a[:, 0], a[:, 0] + 3.0), 3.0)
    close(metrics.wasserstein_1d(a[:, 0], a[:, 0] + 3.0, p=2.0), 3.0)


def test_kid(golden):
    for _, arrays, expected in found(golden, "kid"):
        close(metrics.kid(**arrays).value, expected["mmd2"])


def test_subsets_of_all_rows_are_the_whole(golden):
    for _, arrays, expected in found(golden, "kid"):
        if len(arrays["a"]) == len(arrays["b"]):
            close(metrics.kid_subsets(arrays["a"], arrays["b"], subsets=1, size=len(arrays["a"])).mean, expected["mmd2"])


def test_mmd(golden):
    for params, arrays, expected in found(golden, "mmd_gaussian"):
        close(metrics.mmd(**arrays, bandwidth=params.get("sigma", params.get("bandwidth"))), expected["mmd2"])


def test_energy_distance_and_median():
    a, b = rng.normal(size=(20, 2)), rng.normal(size=(30, 2)) + 1.0
    far = lambda x, y: np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    n, m = len(a), len(b)
    expected = 2 * far(a, b).mean() - far(a, a).sum() / (n * (n - 1)) - far(b, b).sum() / (m * (m - 1))
    close(metrics.energy_distance(a, b), expected)
    both = np.concatenate([a, b])
    between = far(both, both)[np.triu_indices(n + m, 1)]
    assert between.min() < metrics.median_distance(a, b) < between.max()


def test_wasserstein(golden):
    for params, arrays, expected in found(golden, "wasserstein_1d"):
        close(metrics.wasserstein_1d(**arrays, p=params["p"]), expected["distance"])


def test_sliced_wasserstein_of_one_dimension_is_wasserstein():
    a, b = rng.normal(size=40), rng.normal(size=25) + 0.3
    expected = metrics.wasserstein_1d(a, b, p=2.0)
    close(metrics.sliced_wasserstein(a[:, None], b[:, None], directions=5, p=2.0), expected)


def test_neighbours(golden):
    for params, arrays, expected in found(golden, "precision_recall"):
        result = metrics.precision_recall(**arrays, k=params["k"])
        close(result.precision, expected["precision"])
        close(result.recall, expected["recall"])
    for params, arrays, expected in found(golden, "density_coverage"):
        result = metrics.density_coverage(**arrays, k=params["k"])
        close(result.density, expected["density"])
        close(result.coverage, expected["coverage"])


def test_inception_score(golden):
    for params, arrays, expected in found(golden, "inception_score"):
        result = metrics.inception_score(arrays["probs"], splits=params["splits"])
        close(result.mean, expected["mean"])


def test_classification(golden):
    for params, arrays, expected in found(golden, "classification"):
        result = metrics.classification(arrays["logits"], arrays["labels"], bins=params.get("bins", 15))
        close(result.accuracy, expected["accuracy"])
        close(result.nll, expected["nll"])
        close(result.ece, expected["ece"])


def test_ranking(golden):
    for _, arrays, expected in found(golden, "multilabel_ranking", "multilabel"):
        result = metrics.ranking(arrays["scores"], arrays["target"], [1, 3, 5])
        close(result.map, expected["map"])
        close(result.mrr, expected["mrr"])
        close(result.precision[3], expected["p_at_3"])
        close(result.f[5], expected["f_at_5"])
    for params, arrays, expected in found(golden, "multilabel_f1", "multilabel"):
        result = metrics.multilabel_f1(arrays["scores"], arrays["target"], params["threshold"])
        close(result.micro, expected["micro_f1"])
        close(result.macro, expected["macro_f1"])


def test_what_makes_no_sense_is_an_error():
    a = rng.normal(size=(8, 3))
    for call, words in [
        (lambda: metrics.frechet_distance(a, a[:, :2]), "rows of 3 numbers and rows of 2"),
        (lambda: metrics.frechet_distance(a, a[0]), "expected rows"),
        (lambda: metrics.kid(a, a * np.nan), "not finite"),
        (lambda: metrics.wasserstein_1d(a, a), "sliced_wasserstein"),
        (lambda: metrics.classification(a, [0.5] * 8), "whole numbers"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
