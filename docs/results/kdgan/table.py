"""The tables of README.md from the runs in WORK, and results.json with the figures of each run.

    python3 docs/results/kdgan/table.py WORK
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
    name, seed = re.fullmatch(r"(.+)-(\d+)", path.parent.name).groups()
    metrics["student"].pop("confusion", None)
    if metrics["teacher"]:
        metrics["teacher"].pop("confusion", None)
    runs.setdefault(name, {})[int(seed)] = metrics
pathlib.Path(__file__).with_name("results.json").write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")


def cell(values, scale=1.0, digits=2):
    values = [scale * value for value in values if value is not None]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


methods = ["ce-plain", "ce", "mimic", "distn", "noisy", "codis", "nagan", "kdgan", "code2018"]
for subset in ["last", "balanced"]:
    print(f"\nMNIST, {subset} subset: accuracy of the student in %\n")
    print("| | " + " | ".join(f"n = {n}" for n in ("100", "1,000", "10,000")) + " | teacher, n = 100 | seeds |")
    print("|---|---|---|---|---|---|")
    for method in methods:
        found = [runs.get(f"mnist-{n}-{subset}-{method}", {}) for n in (100, 1000, 10000)]
        row = [cell([run["student_accuracy"] for run in seeds.values()], 100) for seeds in found]
        teacher = cell([run["teacher_accuracy"] for run in found[0].values()], 100)
        print(f"| {method} | " + " | ".join(row) + f" | {teacher} | {', '.join(str(len(seeds)) for seeds in found)} |")

print("\nKDGAN by estimator, MNIST, last 100\n\n| | student | seconds |\n|---|---|---|")
for estimator in ["", "reinforce", "reinforce-baseline", "gumbel", "straight-through", "rao-blackwell", "reward"]:
    seeds = runs.get("mnist-100-last-kdgan" + (f"-{estimator}" if estimator else ""), {}).values()
    print(f"| {estimator or 'exact'} | {cell([run['student_accuracy'] for run in seeds], 100)} | {cell([run['seconds'] for run in seeds], 1, 0)} |")

figures = ["p_at_3", "p_at_5", "f_at_3", "f_at_5", "map", "mrr"]
for name in ["emotions", "scene", "yeast", "bibtex", "corel5k"]:
    print(f"\n{name}: the student on half of the columns\n")
    print("| | P@3 | P@5 | F@3 | F@5 | MAP | MRR | teacher's MAP | seeds |\n|---|---|---|---|---|---|---|---|---|")
    for method in methods[1:-1]:
        seeds = runs.get(f"{name}-{method}", {}).values()
        row = [cell([run["student"][figure] for run in seeds], 1, 4) for figure in figures]
        teacher = cell([run["teacher"]["map"] for run in seeds if run["teacher"]], 1, 4)
        print(f"| {method} | " + " | ".join(row) + f" | {teacher} | {len(seeds)} |")
