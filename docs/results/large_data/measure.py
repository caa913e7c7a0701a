"""Start-up, memory and speed of a training: python3 docs/results/large_data/measure.py VERIDICAL DATA OUT [FLAGS...]

DATA is one of the sets of make.py. Prints the seconds until the training begins, the most memory that was resident, and images a second after that, of a network that is
small enough for reading to matter. FLAGS go to `veridical train`.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

veridical, data, out, *flags = sys.argv[1:]
small = ["model.model_channels=8", "model.channel_mult=[1,1,1,1,1]", "model.attn_resolutions=[]", "model.num_blocks=1", "train.batch=4", "train.log_every=10",
         "train.sample_every=0", "sampling.measured=0", "sampling.rows=1", "sampling.columns=1", "sampling.steps=2"]
command = [veridical, "train", "--data", data, "--out", out, "--overwrite", "--device", "cpu", "--steps", "60", *flags]
started = time.monotonic()
run = subprocess.Popen(command + [part for setting in small for part in ("--set", setting)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
ready, told = None, []
for line in run.stderr:
    told.append(line)
    if ready is None and "parameters on" in line:
        ready = time.monotonic() - started
_, status, usage = os.wait4(run.pid, 0)
if status or ready is None:
    sys.exit("failed: " + "".join(told[-5:]))
lines = [json.loads(line) for line in (pathlib.Path(out) / "log.jsonl").read_text().splitlines()]
ticks = [line for line in lines if "loss" in line]
first, last = ticks[0], ticks[-1]
rate = (last["seen"] - first["seen"]) / (last["seconds"] - first["seconds"])
print(f"{data} {' '.join(flags)}: training begins after {ready:.1f} s; {usage.ru_maxrss / 2**20:.2f} GiB resident at most; {rate:.1f} images/s")
