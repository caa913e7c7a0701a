"""The curves of README.md's first table, from results.json: python3 curves.py > curves.json."""
import json
import pathlib
import sys

NAMES = ["base", "plain", "cdm", "csc", "csc-temperature0.5"]
rows = json.loads(pathlib.Path(__file__).with_name("results.json").read_text())
curves = [[name.replace("csc-temperature", "csc, T "), {seed: [[int(nfe), found["kl_data_model"]] for nfe, found in at.items()] for seed, at in rows[name].items()}]
          for name in NAMES]
json.dump({"title": "Distance of the data to what the deployed solver draws", "x": "denoiser calls", "y": "KL(data || model)", "log_y": True,
           "curves": curves}, sys.stdout)
