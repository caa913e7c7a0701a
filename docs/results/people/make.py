"""Files as ten people have them, of synthetic data: python3 docs/results/people/make.py OUT. Needs NumPy."""

import pathlib
import struct
import sys
import zlib

import numpy as np

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)


def png(path, pixels):
    """A picture of 8 or 16 bits, grey (h, w), in colour (h, w, 3) or with alpha (h, w, 4)."""
    depth = 8 * pixels.dtype.itemsize
    kind = {2: 0}.get(pixels.ndim) if pixels.ndim == 2 else {3: 2, 4: 6}[pixels.shape[2]]
    rows = pixels.reshape(len(pixels), -1).astype(pixels.dtype.newbyteorder(">"))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


def cells(n, h, w):
    """Bright discs of different size and place on a dark ground, in [0, 1]: [n, h, w]."""
    y, x = np.mgrid[:h, :w]
    pictures = np.full((n, h, w), 0.08)
    for _ in range(3):
        cy, cx, r, b = (rng.uniform(low, high, (n, 1, 1)) for low, high in ((0, h), (0, w), (min(h, w) / 10, min(h, w) / 4), (0.3, 1)))
        pictures = np.maximum(pictures, b / (1 + np.exp(2 * (np.hypot(y - cy, x - cx) - r))))
    return pictures


def colours(n, h, w):
    return np.stack([cells(n, h, w) for _ in range(3)], -1)


for i, picture in enumerate(colours(300, 24, 32)):
    png(out / "holiday" / f"{i:04}.png", (255 * picture).astype(np.uint8))
for i, picture in enumerate(cells(2000, 64, 64)):
    png(out / "xray" / f"{i:04}.png", (60000 * picture).astype(np.uint16))
for i, picture in enumerate(colours(1000, 32, 32)):
    alpha = (picture.max(-1, keepdims=True) > 0.3) * 255
    png(out / "stickers" / f"{i:04}.png", np.concatenate([255 * picture, alpha], -1).astype(np.uint8))
for i in range(1000):
    h, w = rng.integers(40, 90, 2)
    png(out / "mixed" / f"{i:04}.png", (255 * colours(1, h, w)[0]).astype(np.uint8))
np.save(out / "microscope.npy", (700 + 1500 * cells(5000, 32, 32) + rng.normal(0, 20, (5000, 32, 32))).astype(np.float32))
counts = rng.poisson(60 * cells(2000, 64, 64)) * 2.3 + 100 + rng.normal(0, 3, (2000, 64, 64))
np.save(out / "photons.npy", counts.clip(0).round().astype(np.uint16))
np.save(out / "bands.npy", np.stack([k + 10**k * cells(2000, 32, 32) for k in range(4)], -1).astype(np.float32))
t = np.arange(256)
beats = [np.exp(-0.5 * ((t - c) / s) ** 2) for c, s in zip(rng.uniform(60, 190, 10_000), rng.uniform(4, 12, 10_000))]
np.save(out / "heartbeats.npy", (np.array(beats) + rng.normal(0, 0.02, (10_000, 256))).astype(np.float32))
mixing = rng.normal(size=(10, 10)) * np.logspace(-2, 3, 10)
table = rng.standard_normal((20_000, 10)) ** 3 @ mixing + np.logspace(0, 4, 10)
np.savetxt(out / "table.csv", table, delimiter=",", header=",".join(f"reading {i}" for i in range(10)), comments="", fmt="%.6g")
angle = rng.uniform(0, 2 * np.pi, 20_000)
ring = np.stack([500 * np.cos(angle), 30 * np.sin(angle)], -1) * (1 + 0.05 * rng.standard_normal((20_000, 1))) + [1000, -20]
np.save(out / "points.npy", ring)
