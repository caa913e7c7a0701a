"""IDX images at half their resolution, each pixel the rounded mean of four: python3 halve.py FROM TO (folders)."""
import gzip
import pathlib
import shutil
import struct
import sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for file in sorted(source.glob("*-ubyte.gz")):
    if "labels" in file.name:
        shutil.copy(file, target / file.name)
        continue
    data = gzip.decompress(file.read_bytes())
    magic, count, height, width = struct.unpack(">4I", data[:16])
    halves = bytearray()
    for top in range(16, len(data), 2 * width):
        above, below = data[top : top + width], data[top + width : top + 2 * width]
        halves += bytes((a + b + c + d + 2) // 4 for a, b, c, d in zip(above[::2], above[1::2], below[::2], below[1::2]))
    header = struct.pack(">4I", magic, count, height // 2, width // 2)
    (target / file.name).write_bytes(gzip.compress(header + bytes(halves), mtime=0))
