"""The noisy sets of run.sh: Fashion-MNIST at half its resolution, behind noise of known levels.

    python3 docs/results/noise_levels/prepare.py DATA OUT      (DATA: the four IDX files)

OUT gets clean.npz (300 clean images, and the test images to be measured against), noisy.npy (20,000 other images behind noise of 0.59), varied.npy (the same
behind a level of their own each, uniform in 0.2 to 1.0) and levels.npy (those levels). Values are in [-1, 1], as are the levels.
"""

import gzip
import pathlib
import sys

import numpy as np

data, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)


def images(name):
    path = data / name
    raw = gzip.decompress(pathlib.Path(f"{path}.gz").read_bytes()) if not path.exists() else path.read_bytes()
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28).astype(np.float64) / 127.5 - 1
    return pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4))


train, test = images("train-images-idx3-ubyte"), images("t10k-images-idx3-ubyte")
rng = np.random.default_rng(0)
order = rng.permutation(len(train))[:20_300]
clean, hidden = train[order[:300]], train[order[300:]]
noise = rng.standard_normal(hidden.shape)
levels = rng.uniform(0.2, 1.0, len(hidden))
np.savez(out / "clean.npz", images=clean.astype(np.float32), x_test=test.astype(np.float32))
np.save(out / "noisy.npy", (hidden + 0.59 * noise).astype(np.float32))
np.save(out / "varied.npy", (hidden + levels[:, None, None] * noise).astype(np.float32))
np.save(out / "levels.npy", levels)
print(f"one level for all of varied.npy: {np.sqrt((levels**2).mean()):.4f}")
