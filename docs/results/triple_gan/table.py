"""The tables of README.md from the runs in WORK, and results.json with the figures of each run.

    python3 docs/results/triple_gan/table.py WORK
"""
import json
import pathlib
import re
import statistics
import sys

work = pathlib.Path(sys.argv[1])
runs = {}
for path in sorted(work.glob("*/metrics.json")):
    metrics = json.loads(path.read_text())
    if not metrics["finished"]:
        continue
    name, labelled, baseline, seed = re.fullmatch(r"(.+)-(\d+)-([a-z-]+)-(\d+)", path.parent.name).groups()
    metrics["classifier"].pop("confusion", None)
    runs.setdefault(name, {}).setdefault(int(labelled), {}).setdefault(baseline, {})[int(seed)] = metrics
pathlib.Path(__file__).with_name("results.json").write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")


def cell(values, digits=2):
    values = [100 * value for value in values if value is not None]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


for name, by_labels in runs.items():
    print(f"\n{name}\n\n| labels | | error % | generated images read % | seconds | seeds |\n|---|---|---|---|---|---|")
    for labelled, by_baseline in sorted(by_labels.items()):
        for baseline in ["supervised", "entropy", "feature-matching", "none"]:
            seeds = list(by_baseline.get(baseline, {}).values())
            seconds = statistics.median(run["seconds"] for run in seeds) if seeds else float("nan")
            error, read = cell([run["error"] for run in seeds]), cell([run["sample_accuracy"] for run in seeds], 1)
            method = "Triple-GAN" if baseline == "none" else baseline
            print(f"| {labelled} | {method} | {error} | {read} | {seconds:.0f} | {len(seeds)} |")
