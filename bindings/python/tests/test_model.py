"""Denoising, sampling and likelihoods beside closed forms and another implementation's values."""

import numpy as np
import pytest

import veridical
from conftest import SHORT, SMALL, train, write

rng = np.random.default_rng(2)


def test_properties(gaussian, points):
    assert gaussian.shape in [(1, 1, 2), (2,)] and gaussian.classes == 0 and gaussian.class_names == []
    assert gaussian.parameters > 100 and gaussian.device.lower() == "cpu"
    assert gaussian.sigma_range[0] < 0.002 < 80.0 < gaussian.sigma_range[1]
    assert gaussian.config["model_type"] and gaussian.config["sigma_data"] == gaussian.sigma_data
    assert "veridical.Model" in repr(gaussian) and gaussian.units is None


def test_denoising_is_the_posterior_mean(gaussian):
    s = gaussian.sigma_data
    x = rng.normal(size=(5, *gaussian.shape)).astype(np.float32)
    for sigma in [0.3, np.linspace(0.1, 5.0, 5)]:
        level = np.broadcast_to(sigma, 5).reshape(5, *[1] * len(gaussian.shape))
        np.testing.assert_allclose(gaussian.denoise(x, sigma), s**2 / (s**2 + level**2) * x, rtol=2e-6)


def test_sampling_follows_the_exact_way(gaussian):
    # dx/dsigma = (x - D) / sigma has the solution x(sigma) ~ sqrt(s^2 + sigma^2).
    s = gaussian.sigma_data
    latents = rng.normal(size=(6, *gaussian.shape)).astype(np.float32)
    way = gaussian.sample(latents=latents, steps=200, trajectory=True)
    exact = lambda sigma: 80.0 * latents * np.sqrt((s**2 + sigma**2) / (s**2 + 80.0**2))
    assert way.states.shape == (201, 6, *gaussian.shape) and way.sigmas.shape == (201,)
    assert way.sigmas[0] == pytest.approx(80.0) and way.sigmas[-1] == 0.0 and way.calls == 399
    for state, sigma in zip(way.states, way.sigmas):
        np.testing.assert_allclose(state, exact(sigma), rtol=2e-3, atol=1e-6)
    np.testing.assert_array_equal(way.samples, way.states[-1])
    for solver in ["dpmpp-2m", "ipndm"]:
        samples = gaussian.sample(latents=latents, solver=solver, steps=400)
        np.testing.assert_allclose(samples, exact(0.0), rtol=5e-3, atol=1e-5)


def test_samples_have_the_law(gaussian):
    x = gaussian.sample(4000, seed=3, steps=40)
    assert x.dtype == np.float32 and x.shape == (4000, *gaussian.shape)
    assert x.std() == pytest.approx(gaussian.sigma_data, rel=0.03) and abs(x.mean()) < 0.03


def test_a_sample_is_its_own_whatever_it_is_drawn_with(gaussian):
    all_of_them = gaussian.sample(10, seed=5)
    np.testing.assert_array_equal(gaussian.sample([7, 2], seed=5), all_of_them[[7, 2]])
    np.testing.assert_array_equal(gaussian.sample(10, seed=5, batch=3), all_of_them)
    assert not np.array_equal(gaussian.sample(10, seed=6), all_of_them)


def test_starting_from_samples(gaussian):
    s, x = gaussian.sigma_data, rng.normal(size=(3, *gaussian.shape)).astype(np.float32)
    # The grid from its first level below start_sigma on, by the exact solution.
    ended = gaussian.sample(start=x, start_sigma=2.0, start_noisy=True, steps=400)
    np.testing.assert_allclose(ended, x * s / np.sqrt(s**2 + 4.0), rtol=1e-2, atol=1e-4)
    assert gaussian.sample(5, start=x[:1], start_sigma=1.0).shape == (5, *gaussian.shape)


def test_likelihood_is_the_gaussians(gaussian):
    s2 = gaussian.sigma_data**2 + 0.002**2
    x = rng.normal(size=(7, *gaussian.shape)).astype(np.float32) * 0.5
    expected = -np.log(2 * np.pi * s2) - (x.reshape(7, -1) ** 2).sum(1) / (2 * s2)
    for options in [{"trace": "exact"}, {"probes": 2}, {"steps": 200}]:
        found = gaussian.log_likelihood(x, levels=0, **options)
        assert found.nats.dtype == np.float64 and found.calls > 4
        np.testing.assert_allclose(found.nats, expected, atol=2e-3)
        np.testing.assert_allclose(found.bits_per_dim, -found.nats / (2 * np.log(2)), rtol=1e-12)


def test_another_implementation_denoises_alike(golden, tmp_path):
    tensors, metadata = golden("net_skip")
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    write(tmp_path / "net.safetensors", weights, metadata)
    nhwc = lambda x: x.transpose(0, 2, 3, 1)
    with veridical.load(tmp_path / "net.safetensors") as model:
        assert model.shape == (8, 8, 2)
        expected = nhwc(tensors["out.denoised"])
        found = model.denoise(nhwc(tensors["in.x"]), tensors["in.sigma"])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
        wide = model.denoise(nhwc(tensors["in.x"]).astype(np.float64), tensors["in.sigma"])
        assert wide.dtype == np.float64
        np.testing.assert_allclose(wide, expected, atol=2e-5 * np.abs(expected).max())


def test_models_are_saved_and_loaded(gaussian, tmp_path):
    gaussian.save(tmp_path / "again.safetensors")
    x = rng.normal(size=(2, *gaussian.shape))
    np.testing.assert_array_equal(veridical.load(tmp_path / "again.safetensors").denoise(x, 1.0), gaussian.denoise(x, 1.0))


def test_units_of_data(tmp_path):
    images = rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(40) % 3
    model = veridical.train((images, labels), tmp_path / "bytes", settings={**SHORT, **SMALL}).model
    assert model.classes == 3 and model.shape == (4, 4, 1)
    seen = model.from_data(images)
    np.testing.assert_allclose(seen, images / 127.5 - 1.0, atol=1e-6)
    back = model.to_data(seen)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, images)
    # One class for all, by number; each its own; one-hot; random ones.
    x = model.sample(6, labels=2, steps=4)
    np.testing.assert_array_equal(model.sample(6, labels=[2] * 6, steps=4), x)
    np.testing.assert_array_equal(model.sample(6, labels=np.eye(3)[[2] * 6], steps=4), x)
    assert model.sample(6, steps=4).shape == x.shape
    assert model.sample(6, labels=1, guidance=2.0, steps=4).shape == x.shape
    assert model.sample(2, no_class=True, steps=4).shape == (2, 4, 4, 1)
    for options, words in [
        ({"labels": 3}, "3"),
        ({"labels": [0, 1]}, "2 labels for 6"),
        ({"labels": "cat"}, "classes"),
        ({"labels": 1, "no_class": True}, "one of them"),
    ]:
        with pytest.raises(veridical.InvalidInput, match=words):
            model.sample(6, **options)

    counts = rng.normal(size=(40, 3)) * 20.0 + 1000.0
    model = train(counts, tmp_path / "table").model
    assert model.from_data(counts).std() == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(model.to_data(model.from_data(counts)).reshape(40, 3), counts, rtol=1e-5)


def test_what_makes_no_sense_is_an_error(gaussian):
    x = np.zeros((2, *gaussian.shape), np.float32)
    for call, words in [
        (lambda: gaussian.denoise(np.zeros((2, 5)), 1.0), r"the model takes \[n, "),
        (lambda: gaussian.denoise(x[:0], 1.0), r"the model takes \[n, "),
        (lambda: gaussian.denoise(x, [1.0, 2.0, 3.0]), "for 2 samples"),
        (lambda: gaussian.denoise(x, 1.0, labels=[0, 0]), "no classes"),
        (lambda: gaussian.sample(0), "from 1"),
        (lambda: gaussian.sample([]), "no samples"),
        (lambda: gaussian.sample(2, solver="magic"), "no solver"),
        (lambda: gaussian.sample(2, stpes=4), "stpes"),
        (lambda: gaussian.sample(2, solver="dpmpp-2m", churn=4.0), "churn"),
        (lambda: gaussian.sample(2, guidance=2.0), "guidance_model"),
        (lambda: gaussian.sample(2, start=x), "start_sigma"),
        (lambda: gaussian.sample(2, compute="f64"), "bf16"),
        (lambda: gaussian.log_likelihood(x, trace="none"), "hutchinson"),
        (lambda: gaussian.log_likelihood(x, steps=3, tolerance=0.1), "one of them"),
        (lambda: gaussian.log_likelihood(x, levels=1), "levels"),
    ]:
        with pytest.raises(veridical.InvalidInput, match=words):
            call()


def test_a_grid_of_ones_own(gaussian):
    way = gaussian.sample(2, grid=[10.0, 1.0, 0.1, 0.0], trajectory=True)
    np.testing.assert_allclose(way.sigmas, [10.0, 1.0, 0.1, 0.0])
    assert gaussian.sample(2, solver="dpmpp-sde", brownian=True, s_noise=1.0, steps=5).shape == (2, *gaussian.shape)
    assert "heun" in veridical.solvers()


def test_guidance_by_another_model(gaussian):
    # Away from itself is nowhere.
    plain = gaussian.sample(4, seed=1)
    guided = gaussian.sample(4, seed=1, guidance=3.0, guidance_model=gaussian, guidance_interval=(0.1, 10.0))
    np.testing.assert_allclose(guided, plain, atol=1e-6)


def test_a_closed_model_says_so(gaussian, tmp_path):
    gaussian.save(tmp_path / "model.safetensors")
    with veridical.load(tmp_path / "model.safetensors") as model:
        assert not model.closed
    assert model.closed and "closed" in repr(model)
    for use in [lambda: model.sample(2), lambda: model.shape, lambda: model.save(tmp_path / "x")]:
        with pytest.raises(veridical.VeridicalError, match="load it again"):
            use()
    model.close()
