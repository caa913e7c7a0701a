#!/usr/bin/env bash
# The table of README.md: docs/results/people/run.sh VERIDICAL DATA WORK MINUTES      (DATA: what make.py wrote)
# Each set is learned for so many minutes, without a preset; then 200 samples are drawn and measured against the data.
set -euo pipefail
veridical=$1 data=$2 work=$3 minutes=$4
mkdir -p "$work"
for set in holiday xray stickers mixed microscope.npy photons.npy bands.npy heartbeats.npy table.csv points.npy; do
    out=$work/${set%.*}
    if [ -e "$out/evaluation.json" ]; then continue; fi
    size=()
    [ "$set" != mixed ] || size=(--size 32)
    "$veridical" train --data "$data/$set" "${size[@]}" --device cpu --minutes "$minutes" --set train.sample_every=0 --overwrite --out "$out" >"$out.log" 2>&1
    "$veridical" sample --model "$out" --seeds 0-199 --output "$out/x.npz" --device cpu >"$out/samples.txt" 2>&1
    "$veridical" evaluate --generated "$out/x.npz" --real "$data/$set" "${size[@]}" --json "$out/evaluation.json" >"$out/evaluation.txt" 2>&1
done
