"""The tables of README.md from the runs in WORK, and results.json with the figures of each run.

    python3 docs/results/kdgan/table.py [WORK]

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
    name, seed = re.fullmatch(r"(.+)-(\d+)", path.parent.name).groups()
    for player in ["student", "teacher"]:
        (metrics[player] or {}).pop("confusion", None)
    runs.setdefault(name, {})[seed] = metrics
file.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")


def cell(values, scale=1.0, digits=2):
    values = [scale * value for value in values if value is not None]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def of(name, figure, scale=100, digits=2):
    return cell([run[figure] for run in runs.get(name, {}).values()], scale, digits)


print("\nChoice of settings: accuracy of the student in % on 5,000 training images set apart, the last N labelled (seed 100)\n")
print("| | N = 100 | N = 1,000 |\n|---|---|---|")
for name in sorted({name.split("-", 2)[2] for name in runs if name.startswith("choose-")}):
    print(f"| {name} | {of(f'choose-100-{name}', 'student_accuracy')} | {of(f'choose-1000-{name}', 'student_accuracy')} |")

# The authors' draft (10 runs), the last n images; their logs take the best test value. The student alone is commented out there.
drafts = {"ce-plain": ("54.94", "86.57", "97.13"), "mimic": ("67.35", "93.78", "98.65"), "distn": ("68.34", "93.97", "98.79"),
          "noisy": ("66.53", "93.45", "98.58"), "nagan": ("64.90", "93.60", "98.95"), "kdgan": ("77.95", "96.42", "99.25")}
methods = ["ce-plain", "ce", "mimic", "distn", "noisy", "codis", "nagan", "kdgan", "kdgan-supervised", "code2018"]
sizes = ["100", "1000", "10000"]
for subset in ["last", "balanced"]:
    theirs = subset == "last"
    print(f"\nMNIST, {subset} subset: test accuracy at the end in %\n")
    print("| | " + " | ".join(f"student, n = {int(n):,}" + (" | theirs" if theirs else "") + " | teacher" for n in sizes) + " | seeds (100, 1,000, 10,000) |")
    print("|---" * (11 if theirs else 8) + "|")
    for method in methods:
        names = [f"mnist-{n}-{subset}-{method}" for n in sizes]
        if not any(name in runs for name in names):
            continue
        row = []
        for i, name in enumerate(names):
            row.append(of(name, "student_accuracy"))
            row += [drafts.get(method, ("",) * 3)[i]] if theirs else []
            row.append(of(name, "teacher_accuracy"))
        print(f"| {method} | " + " | ".join(row) + f" | {', '.join(str(len(runs.get(name, {}))) for name in names)} |")

print("\nKDGAN by estimator, MNIST, last 100\n\n| | student | teacher | seconds | seeds |\n|---|---|---|---|---|")
for estimator in ["", "reinforce", "reinforce-baseline", "gumbel", "straight-through", "rao-blackwell", "reward"]:
    name = "mnist-100-last-kdgan" + (f"-{estimator}" if estimator else "")
    figures = [of(name, "student_accuracy"), of(name, "teacher_accuracy"), of(name, "seconds", 1, 0), str(len(runs.get(name, {})))]
    print(f"| {estimator or 'exact'} | " + " | ".join(figures) + " |")

figures = ["p_at_3", "p_at_5", "f_at_3", "f_at_5", "map", "mrr"]
for name in ["emotions", "scene", "yeast", "bibtex", "corel5k"]:
    print(f"\n{name}: the student on half of the columns\n")
    print("| | P@3 | P@5 | F@3 | F@5 | MAP | MRR | teacher's MAP | seeds |\n|---|---|---|---|---|---|---|---|---|")
    for method in methods[1:8]:
        seeds = runs.get(f"{name}-{method}", {}).values()
        row = [cell([run["student"][figure] for run in seeds], 1, 4) for figure in figures]
        teacher = cell([run["teacher"]["map"] for run in seeds if run["teacher"]], 1, 4)
        print(f"| {method} | " + " | ".join(row) + f" | {teacher} | {len(seeds)} |")
