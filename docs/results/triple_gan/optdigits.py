"""The UCI set of 8x8 digits (optdigits.tra, optdigits.tes: 64 counts from 0 to 16 and a class) as the four IDX files that --data reads.

    python3 docs/results/triple_gan/optdigits.py FOLDER_WITH_BOTH OUT

A count is multiplied by 255 / 16 and rounded, so that bytes span 0 to 255.
"""
import pathlib
import struct
import sys

source, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
for file, name in [("optdigits.tra", "train"), ("optdigits.tes", "t10k")]:
    rows = [[int(value) for value in line.split(",")] for line in (source / file).read_text().split()]
    if any(len(row) != 65 or not all(0 <= value <= 16 for value in row[:64]) or not 0 <= row[64] <= 9 for row in rows):
        sys.exit(f"{source / file}: not 64 counts from 0 to 16 and a class on every line")
    images = bytes((value * 255 + 8) // 16 for row in rows for value in row[:64])
    (out / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, len(rows), 8, 8) + images)
    (out / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(rows)) + bytes(row[64] for row in rows))
    print(f"{out}: {len(rows)} images for {name}")
