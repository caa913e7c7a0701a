"""The table of README.md from the runs of run.sh: python3 table.py WORK > table.md; writes results.json and curves.json beside itself."""
import json
import pathlib
import statistics
import sys

here = pathlib.Path(__file__).parent
rows = {}
for place in sorted(pathlib.Path(sys.argv[1]).glob("*-[0-9]")):
    file = place / "metrics.json"
    if file.exists():
        name, seed = place.name.rsplit("-", 1)
        found = json.loads(file.read_text())
        if not any(at["when"] == "after" for at in found):
            continue
        for which, when in (("base", "before"), (name, "after")):
            rows.setdefault(which, {})["-" if which == "base" else seed] = {
                str(2 * at["steps"] - 1): at["comparison"]["frechet_distance"] for at in found if at["when"] == when}
(here / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
nfes = list(next(iter(rows["base"].values())))
print("| | seeds | " + " | ".join(f"{nfe} NFE" for nfe in nfes) + " |\n|---|---|" + "---|" * len(nfes))
for name, seeds in rows.items():
    cells = []
    for nfe in nfes:
        values = [row[nfe] for row in seeds.values()]
        cells.append(f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""))
    print(f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |")
shown = {"base": "base", "plain": "plain", "cdm": "cdm", "csc": "csc", "csc-temperature100-weight100": "wide", "csc-features-weight100": "features"}
(here / "curves.json").write_text(json.dumps({
    "title": "Fashion-MNIST at 14x14, fine-tuned for Heun's method", "x": "denoiser calls", "y": "Fréchet distance", "log_y": True,
    "curves": [[label, {seed: [[int(nfe), y] for nfe, y in row.items()] for seed, row in rows[name].items()}] for name, label in shown.items() if name in rows]}))
