"""The table of README.md: python3 docs/results/people/table.py DATA WORK. Needs NumPy and Pillow."""

import json
import pathlib
import re
import sys

import numpy as np
from PIL import Image

data, work = map(pathlib.Path, sys.argv[1:])


def quantiles(numbers):
    return ", ".join(f"{q:.4g}" for q in np.quantile(numbers, [0.01, 0.5, 0.99]))


def numbers(name):
    """Those of a set's files; of pictures without their alpha."""
    if (data / name).is_dir():
        pictures = [np.asarray(Image.open(path), np.float64) for path in sorted((data / name).iterdir())]
        return np.concatenate([(p[..., :3] if p.ndim == 3 else p).ravel() for p in pictures])
    if (data / f"{name}.npy").exists():
        return np.load(data / f"{name}.npy").astype(np.float64)
    return np.loadtxt(data / f"{name}.csv", delimiter=",", skiprows=1)


print("| set | what was found | settings from the data | steps | samples: 1 %, median, 99 % | data: the same | sliced Wasserstein |")
print("|---|---|---|---|---|---|---|")
for set in "holiday xray stickers mixed microscope photons bands heartbeats table points".split():
    log = (work / f"{set}.log").read_text().replace("\r", "\n")
    said = re.search(r": (\d+x[^\n]*?)(?:, standard deviation|; no classes)", log)[1]
    settings = re.search(r"settings from the data: ([^\n]*?), [\d,]+ \w+ \(config", log)[1]
    steps = re.search(r"after (\d+) steps", log)[1]
    report = json.loads((work / set / "evaluation.json").read_text())
    samples = np.load(work / set / "x.npz")["images"].astype(np.float64)
    distance = report["generated"]["sliced_wasserstein"]
    print(f"| {set} | {said} | {settings} | {steps} | {quantiles(samples)} | {quantiles(numbers(set))} | {distance:.3g} |")
