"""True and estimated noise levels: the table of README.md. Needs NumPy.

    python3 docs/results/noise_levels/table.py VERIDICAL NAME=DATA...

DATA is a folder of MNIST's four files or of CIFAR's .bin files, or the digits' csv. Half of the images stay clean, the other half get noise.
"""
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

LEVELS = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
MOST = 4000


def images(path):
    path = pathlib.Path(path)
    if path.is_file():
        opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
        rows = np.array([[float(x) for x in line.split(",")[:64]] for line in opened if line[0].isdigit()])
        return rows.reshape(-1, 8, 8, 1) / 8 - 1
    idx = sorted(path.glob("train-images-idx3-ubyte*"))
    if idx:
        opened = gzip.open(idx[0]) if idx[0].suffix == ".gz" else open(idx[0], "rb")
        return np.frombuffer(opened.read()[16:], np.uint8)[: MOST * 784].reshape(-1, 28, 28, 1) / 127.5 - 1
    records = np.frombuffer(b"".join(file.read_bytes() for file in sorted(path.glob("*.bin"))), np.uint8).reshape(-1, 3073)
    return records[:MOST, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / 127.5 - 1


veridical, *sets = sys.argv[1:]
print("| | true | beside clean images | alone |\n|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    for name, path in (one.split("=", 1) for one in sets):
        all_images = images(path)
        order = np.random.default_rng(0).permutation(len(all_images))
        clean, rest = all_images[order[: len(order) // 2]], all_images[order[len(order) // 2:]]
        np.save(f"{folder}/clean.npy", clean.astype("f4"))
        for level in LEVELS:
            noise = np.random.default_rng(1).normal(0, level, rest.shape)
            np.save(f"{folder}/noisy.npy", (rest + noise).astype("f4"))
            cells = []
            for beside in (["--clean", f"{folder}/clean.npy"], []):
                command = [veridical, "noise", "--data", f"{folder}/noisy.npy", *beside, "--json", f"{folder}/found.json"]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    cells.append("none: the noisy images vary no more than the clean ones" if "no more fine detail" in done.stderr else done.stderr)
                    continue
                found = json.loads(pathlib.Path(f"{folder}/found.json").read_text())
                cells.append(f"{found['sigma']:.4f} ± {found['stderr']:.4f}")
            print(f"| {name}, {len(rest)} | {level} | {' | '.join(cells)} |", flush=True)
