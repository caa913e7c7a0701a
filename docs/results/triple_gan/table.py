"""The tables of README.md from the runs in WORK, and results.json with the figures of each run.

    python3 docs/results/triple_gan/table.py [WORK]

Runs that results.json holds already stay there, so that WORK may hold a part of them only.
"""
import json
import pathlib
import re
import statistics
import sys

file = pathlib.Path(__file__).with_name("results.json")
runs = json.loads(file.read_text()) if file.exists() else {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/metrics.json")) if len(sys.argv) > 1 else []:
    metrics = json.loads(path.read_text())
    if not metrics["finished"]:
        continue
    name, labelled, baseline, seed = re.fullmatch(r"(.+)-(\d+)-([a-z-]+)-(\d+)", path.parent.name).groups()
    metrics["classifier"].pop("confusion", None)
    runs.setdefault(name, {}).setdefault(labelled, {}).setdefault(baseline, {})[seed] = metrics
file.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")


def cell(values, digits=2):
    values = [100 * value for value in values if value is not None]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


# The paper's tables 1 and 2 (1,000 epochs); feature matching is Improved-GAN's row.
papers = {("mnist", "20", "none"): "4.81 ± 4.95", ("mnist", "50", "none"): "1.56 ± 0.72", ("mnist", "100", "none"): "0.91 ± 0.58",
          ("mnist", "200", "none"): "0.67 ± 0.16", ("mnist", "20", "feature-matching"): "16.77 ± 4.52",
          ("mnist", "50", "feature-matching"): "2.21 ± 1.36", ("mnist", "100", "feature-matching"): "0.93 ± 0.07",
          ("mnist", "200", "feature-matching"): "0.90 ± 0.04"}
for name, by_labels in runs.items():
    print(f"\n{name}\n\n| labels | | error % | theirs | generated images read % | seconds | seeds |\n|---|---|---|---|---|---|---|")
    for labelled, by_baseline in sorted(by_labels.items(), key=lambda item: int(item[0])):
        for baseline in ["supervised", "entropy", "feature-matching", "none"]:
            seeds = list(by_baseline.get(baseline, {}).values())
            seconds = statistics.median(run["seconds"] for run in seeds) if seeds else float("nan")
            error, read = cell([run["error"] for run in seeds]), cell([run["sample_accuracy"] for run in seeds], 1)
            method = "Triple-GAN" if baseline == "none" else baseline
            theirs = papers.get((name, labelled, baseline), "")
            print(f"| {labelled} | {method} | {error} | {theirs} | {read} | {seconds:.0f} | {len(seeds)} |")
