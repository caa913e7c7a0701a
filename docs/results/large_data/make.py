"""Ten gigabytes of synthetic pictures, as PNG files and as one array: python3 docs/results/large_data/make.py OUT [COUNT]. Needs NumPy.

OUT/png gets 256x256 pictures in colour (52,000 if nothing is said), stored without compression, which makes each file as large as its pixels; OUT/pictures.npy holds
the same; OUT/floats.npy holds as many bytes of 32-bit numbers about 1,200 +- 300, in images of 128x128.
"""

import pathlib
import struct
import sys
import zlib

import numpy as np

out, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 52_000
side = 256
(out / "png").mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
tile = rng.integers(0, 256, (2 * side, 2 * side, 3), np.uint8)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def image(i):
    y, x = i * 7 % side, i * 13 % side
    return tile[y : y + side, x : x + side] ^ np.uint8(i % 251)


array = np.lib.format.open_memmap(out / "pictures.npy", "w+", np.uint8, (count, side, side, 3))
for i in range(count):
    array[i] = image(i)
    rows = np.concatenate([np.zeros((side, 1), np.uint8), array[i].reshape(side, -1)], 1)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)) + chunk(b"IEND", b"")
    (out / "png" / f"{i:06}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
floats = np.lib.format.open_memmap(out / "floats.npy", "w+", np.float32, (count * 3, 128, 128))
numbers = rng.normal(1200, 300, (2 * 128, 2 * 128)).astype(np.float32)
for i in range(len(floats)):
    y, x = i * 7 % 128, i * 13 % 128
    floats[i] = numbers[y : y + 128, x : x + 128]
