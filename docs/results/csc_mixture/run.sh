#!/usr/bin/env bash
# The table of README.md: a model of the mixture in the plane, fine-tuned for a coarse solver in several ways, each for 200,000 points.
#   docs/results/csc_mixture/run.sh VERIDICAL COARSE_SOLVER WORK SEEDS...     (COARSE_SOLVER: examples/coarse_solver.rs, built)
set -euo pipefail
veridical=$1 coarse=$2 work=$3
shift 3
mkdir -p "$work"
base=$work/base/model.safetensors
[ -e "$base" ] || "$veridical" train --preset points --data synthetic:mixture --images 1500000 --device cpu --out "$work/base" --set train.sample_every=0
fine() { # NAME SEED SETTINGS...
    local out=$work/$1-$2 seed=$2 settings=()
    shift 2
    for setting in "$@"; do settings+=(--set "csc.$setting"); done
    settings=(--set csc.temperature=1 "${settings[@]}")
    [ -e "$out/model.safetensors" ] || "$veridical" csc --preset points --data synthetic:mixture --model "$base" --device cpu --seed "$seed" --out "$out" \
        --overwrite --set train.sample_every=0 --set judge.images=0 "${settings[@]}"
}
for seed in "$@"; do
    fine plain "$seed" method=plain
    fine cdm "$seed" method=cdm
    fine cdm-weight2 "$seed" method=cdm cdm_weight=2
    fine csc "$seed" steps=7
    fine csc-temperature0.5 "$seed" steps=7 temperature=0.5
done
# Ablations, of one seed.
fine csc-weight0.1 "$1" steps=7 weight=0.1
fine csc-weight10 "$1" steps=7 weight=10
fine csc-steps5 "$1" steps=5
fine csc-steps13 "$1" steps=13
fine csc-temperature0.25 "$1" steps=7 temperature=0.25
fine csc-temperature4 "$1" steps=7 temperature=4
fine csc-gradients4 "$1" steps=7 gradients=4
fine csc-chain1 "$1" steps=7 chain=1
fine csc-chain4 "$1" steps=7 chain=4
fine csc-negatives "$1" steps=7 negatives=chain
fine csc-forward "$1" steps=7 coupling=forward
"$coarse" "$base" "$work"/*-[0-9]/model.safetensors
