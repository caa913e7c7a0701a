"""What is taken for an array, and what comes back."""

import numpy as np
import pytest


class OnlyDlpack:
    """What has `__dlpack__` and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, *args, **kwargs):
        return self.array.__dlpack__(*args, **kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyArray:
    """What has `__array__` and nothing else."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_every_array_is_the_same(gaussian):
    x = np.random.default_rng(3).integers(-4, 5, (6, *gaussian.shape))
    expected = gaussian.denoise(x.astype(np.float32), 0.7)
    for same in [
        x,
        x.astype(np.float16),
        x.astype(">f4"),
        np.asfortranarray(x.astype(np.float32)),
        np.repeat(x, 2, axis=0)[::2],
        x.tolist(),
        OnlyDlpack(x.astype(np.float32)),
        OnlyArray(x.astype(np.float32)),
    ]:
        found = gaussian.denoise(same, 0.7)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_results_are_arrays_of_their_own(gaussian):
    x = np.ones((2, *gaussian.shape), np.float32)
    y = gaussian.denoise(x, 0.5)
    assert isinstance(y, np.ndarray) and y.flags.writeable and y.flags.c_contiguous
    y += 1.0
    assert (x == 1.0).all() and not np.array_equal(gaussian.denoise(x, 0.5), y)
    np.testing.assert_array_equal(np.from_dlpack(y), y)


def test_torch(gaussian):
    torch = pytest.importorskip("torch")
    x = torch.randn(3, *gaussian.shape)
    y = torch.from_dlpack(gaussian.denoise(x, torch.tensor([0.1, 0.2, 0.3])))
    assert y.shape == x.shape and y.dtype == torch.float32
    # Without reading a value twice: the closed form.
    s2, sigma2 = gaussian.sigma_data**2, torch.tensor([0.1, 0.2, 0.3]).reshape(3, *[1] * len(gaussian.shape)) ** 2
    torch.testing.assert_close(y, s2 / (s2 + sigma2) * x)
    with pytest.raises(RuntimeError, match="detach"):
        gaussian.denoise(x.requires_grad_(), 1.0)


def test_what_is_no_array_of_numbers_says_what_to_do(gaussian):
    for wrong in [np.array(["a"]), np.ones((2, *gaussian.shape), complex), object()]:
        with pytest.raises(TypeError, match="astype"):
            gaussian.denoise(wrong, 1.0)
