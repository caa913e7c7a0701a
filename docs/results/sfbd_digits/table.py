"""The table of README.md from the runs of run.sh: python3 table.py WORK > table.md; writes results.json beside itself."""
import json
import pathlib
import statistics
import sys

KEYS = ["frechet_distance", "kid", "sliced_wasserstein", "precision", "recall", "coverage"]
NAMES = {"clean": "clean-only", "noisy": "noisy-only, plain loss", "ambient": "Ambient-Tweedie", "all-clean": "all-clean (ceiling)",
         "online": "Online SFBD"}
rows = {}
for place in sorted(pathlib.Path(sys.argv[1]).glob("*-[0-9]")):
    method, seed = place.name.rsplit("-", 1)
    file = place / "metrics.json"
    if not file.exists():
        continue
    found = json.loads(file.read_text())
    if isinstance(found, dict):
        rows.setdefault(method, {})[seed] = {key: found[key] for key in KEYS}
    elif method == "online" or len(found) == 5:
        for stage in found:
            name = method if method == "online" else f"{method} {stage['round']}"
            rows.setdefault(name, {})[seed] = {key: stage["generated"][key] for key in KEYS} | {"denoised": stage["rms_error"]}
pathlib.Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=1) + "\n")


def cell(seeds, key):
    values = [row[key] for row in seeds.values() if row.get(key) is not None]
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def label(name):
    kind, _, k = name.partition(" ")
    if kind in NAMES:
        return NAMES[kind]
    return "SFBD pre-training alone (15,360 images)" if k == "0" else f"SFBD {kind[5:].upper()}, round {k}"


order = ["noisy", "clean", "ambient", "sfbd-ode 0"] + [f"sfbd-{d} {k}" for d in ("ode", "sde") for k in range(1, 5)] + ["online", "all-clean"]
print("| | seeds | Fréchet | KID | sliced W. | precision | recall | coverage | denoised to |\n|---|---|---|---|---|---|---|---|---|")
for name in order:
    if name in rows:
        seeds = rows[name]
        cells = " | ".join(cell(seeds, key) for key in [*KEYS, "denoised"])
        print(f"| {label(name)} | {len(seeds)} | {cells} |")
