#!/usr/bin/env bash
# The table of README.md: a model of Fashion-MNIST at half its resolution, fine-tuned for Heun's method in 13 steps (25 NFE) in several ways, each
# for 15,360 images.
#   docs/results/csc_fashion/run.sh VERIDICAL DATA MODEL JUDGE WORK SEEDS...
# DATA, MODEL and JUDGE are the data, all-clean-1-0-0/model.safetensors and judge.safetensors of ../sfbd_fashion. The features that CSC compares are
# those of another classifier than the judge. Several copies may share WORK, which the classifier is trained into before them.
set -euo pipefail
veridical=$1 data=$2 model=$3 judge=$4 work=$5
shift 5
mkdir -p "$work"
features=$work/features.safetensors
[ -e "$features" ] || "$veridical" classifier --data "$data" --output "$features" --epochs 3 --channels 16,32,64 --seed 1 --device cpu
fine() { # NAME SEED SETTINGS...
    local out=$work/$1-$2 seed=$2 settings=()
    shift 2
    if [ -e "$out/metrics.json" ] || ! mkdir "$out.begun" 2>/dev/null; then return; fi
    for setting in "$@"; do settings+=(--set "csc.$setting"); done
    "$veridical" csc --preset fashion --data "$data" --model "$model" --device cpu --seed "$seed" --out "$out" --overwrite --images 15360 \
        --set data.labels=false --set average.half_life=1536 --set train.sample_every=0 --set judge.images=500 \
        --set "judge.features='$judge'" --set sampling.columns=10 --set sampling.rows=5 "${settings[@]}"
}
for seed in "$@"; do
    fine plain "$seed" method=plain
    fine cdm "$seed" method=cdm
    fine cdm-weight2 "$seed" method=cdm cdm_weight=2
    fine csc "$seed" steps=13
    fine csc-temperature0.1 "$seed" steps=13 temperature=0.1
    # A kernel so wide that the softmax has a gradient, and a weight that lets it be felt beside a denoising loss of about 50.
    fine csc-temperature100-weight100 "$seed" steps=13 temperature=100 weight=100
    fine csc-features-weight100 "$seed" steps=13 temperature=100 weight=100 "similarity='$features'"
    fine csc-temperature100 "$seed" steps=13 temperature=100
done
