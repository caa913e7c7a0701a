"""The tables of README.md from the runs of run.sh: python3 table.py WORK LONG > tables.md, LONG being the runs of LENGTH=3; writes results.json
and, for each table, the curves of its figure beside itself."""
import json
import pathlib
import statistics
import sys

KEYS = ["frechet_distance", "kid", "precision", "recall", "coverage"]
SETTINGS = {"0.001-0.59": "0.1 % clean (60 images), noise 0.59", "0.04-0.59": "4 % clean (2,400 images), noise 0.59",
            "0.10-0.59": "10 % clean (6,000 images), noise 0.59", "0.04-0.2": "4 % clean (2,400 images), noise 0.2"}
here = pathlib.Path(__file__).parent


def read(work):
    """Figures by setting, method and seed."""
    rows = {}
    for place in sorted(pathlib.Path(work).glob("*-[0-9]")):
        file = place / "metrics.json"
        if not file.exists():
            continue
        method, share, sigma, seed = place.name.rsplit("-", 3)
        found = json.loads(file.read_text())
        stages = {method: found} if isinstance(found, dict) else None
        if method == "online":
            stages = {method: found[0]["generated"]} if found else {}
        elif stages is None:
            stages = {f"{method} {stage['round']}": stage["generated"] | {"denoised": stage["rms_error"]} for stage in found} if len(found) == 5 else {}
        for name, measured in stages.items():
            rows.setdefault(f"{share}-{sigma}", {}).setdefault(name, {})[seed] = {key: measured[key] for key in [*KEYS, "denoised"] if key in measured}
    return rows


def cell(seeds, key):
    values = [row[key] for row in seeds.values() if row.get(key) is not None]
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def chosen(rows, setting, first):
    share = setting.split("-")[0]
    noisy = rows[setting].get("noisy") or (rows.get("0.04-0.59", {}).get("noisy") if setting.endswith("0.59") else None)
    yield "noisy-only, plain loss", noisy
    yield "clean-only", rows.get(f"{share}-0", {}).get("clean")
    yield "Ambient-Tweedie", rows[setting].get("ambient")
    yield f"SFBD pre-training alone ({first:,} images)", rows[setting].get("sfbd-ode 0")
    for variant, name in (("ode", "ODE"), ("kept", "ODE, optimiser kept"), ("sde", "SDE")):
        for k in range(1, 5):
            yield f"SFBD {name}, round {k}", rows[setting].get(f"sfbd-{variant} {k}")
    yield "Online SFBD", rows[setting].get("online")
    yield "all-clean (ceiling)", rows.get("1-0", {}).get("all-clean")


def curves(rows, setting):
    """Distance by round, with what has no rounds as level lines."""
    by_round = lambda d: {seed: [[k, rows[setting][f"sfbd-{d} {k}"][seed]["frechet_distance"]] for k in range(5)]
                          for seed in rows[setting].get(f"sfbd-{d} 0", {})}
    level = lambda seeds: {seed: [[k, row["frechet_distance"]] for k in range(5)] for seed, row in (seeds or {}).items()}
    named = [["clean-only", level(rows.get(f"{setting.split('-')[0]}-0", {}).get("clean"))], ["Ambient", level(rows[setting].get("ambient"))],
             ["all-clean", level(rows.get("1-0", {}).get("all-clean"))], ["Online", level(rows[setting].get("online"))],
             ["ODE", by_round("ode")], ["SDE", by_round("sde")]]
    return [curve for curve in named if curve[1]]


results = {}
for length, work in zip((1, 3), sys.argv[1:]):
    rows = results[61_440 * length] = read(work)
    for setting, title in SETTINGS.items():
        if setting not in rows:
            continue
        title += f", {61_440 * length:,} training images"
        name = f"curves-{setting}{'-long' if length > 1 else ''}"
        print(f"### {title}\n\n| | seeds | Fréchet | KID | precision | recall | coverage | denoised to |\n|---|---|---|---|---|---|---|---|")
        for row, seeds in chosen(rows, setting, 20_480 * length):
            if seeds:
                print(f"| {row} | {len(seeds)} | {' | '.join(cell(seeds, key) for key in [*KEYS, 'denoised'])} |")
        print(f"\n![Fréchet distance by round: {title}]({name}.png)\n")
        (here / f"{name}.json").write_text(json.dumps({"title": f"Fashion-MNIST at 14x14: {title}", "x": "round", "y": "Fréchet distance",
                                                       "log_y": True, "curves": curves(rows, setting)}))
(here / "results.json").write_text(json.dumps(results, indent=1) + "\n")
