"""The tables of the trainings of run.sh, and results.json with the figures of each: python3 docs/results/noise_levels/trainings.py [WORK]

Runs that results.json holds already stay there, so that WORK may hold a part of them only.
"""
import json
import pathlib
import statistics
import sys

KEYS = ["frechet_distance", "kid", "precision", "recall", "coverage"]
NAMES = {
    "clean": "trained on the 300 clean images alone",
    "ambient-levels": "Ambient-Tweedie, a level for each image", "ambient-pooled": "Ambient-Tweedie, one level",
    "sfbd-levels": "SFBD, a level for each image", "sfbd-pooled": "SFBD, one level",
    "wrong-0.3": "said to be 0.3", "wrong-0.45": "said to be 0.45", "wrong-0.59": "said to be 0.59, which it is",
    "wrong-0.75": "said to be 0.75", "wrong-1.0": "said to be 1.0",
}
file = pathlib.Path(__file__).with_name("results.json")
runs = json.loads(file.read_text()) if file.exists() else {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/metrics.json")) if len(sys.argv) > 1 else []:
    name, seed = path.parent.name.rsplit("-", 1)
    found = json.loads(path.read_text())
    if isinstance(found, list):  # stages of SFBD: the pre-training and two rounds
        if len(found) < 3:
            continue
        found = found[-1]["generated"]
    runs.setdefault(name, {})[seed] = {key: found[key] for key in KEYS}
file.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")


def cell(name, key, digits):
    values = [run[key] for run in runs[name].values()]
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


for names in [list(NAMES)[:5], list(NAMES)[5:]]:
    print("\n| | Fréchet distance | KID | precision | recall | coverage | seeds |\n|---|---|---|---|---|---|---|")
    for name in filter(runs.__contains__, names):
        print(f"| {NAMES[name]} | {cell(name, KEYS[0], 2)} | " + " | ".join(cell(name, key, 4) for key in KEYS[1:]) + f" | {len(runs[name])} |")
