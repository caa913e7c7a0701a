"""The tables of README.md from what run.sh printed: python3 table.py < PRINTED > tables.md; writes results.json beside itself."""
import json
import pathlib
import statistics
import sys

MAIN = ["base", "plain", "cdm", "cdm-weight2", "csc", "csc-temperature0.5"]
rows = {}
for line in sys.stdin:
    found = line.split()
    if not found or not found[0].endswith("/model.safetensors"):
        continue
    run = pathlib.Path(found[0]).parent.name
    name, seed = (run, "-") if run == "base" else run.rsplit("-", 1)
    rows.setdefault(name, {}).setdefault(seed, {})[found[2]] = {"kl_model_data": float(found[3]), "kl_data_model": float(found[4])}
pathlib.Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=1) + "\n")


def number(seeds, nfe, key):
    values = [at[nfe][key] for at in seeds.values()]
    mean = statistics.mean(values)
    digits = 0 if mean >= 100 else 2 if mean >= 1 else 3
    return f"{mean:.{digits}f}" + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


nfes = list(next(iter(rows["base"].values())))
for names in ([name for name in MAIN if name in rows], sorted(name for name in rows if name not in MAIN)):
    print("| | seeds | " + " | ".join(f"{nfe} NFE" for nfe in nfes) + " |\n|---|---|" + "---|" * len(nfes))
    for name in names:
        cells = [f"{number(rows[name], nfe, 'kl_data_model')} / {number(rows[name], nfe, 'kl_model_data')}" for nfe in nfes]
        print(f"| {name} | {len(rows[name])} | " + " | ".join(cells) + " |")
    print()
