#!/usr/bin/env bash
# The trainings of README.md: what a wrong level costs SFBD, and what a level for each image is worth beside one for all.
#   docs/results/noise_levels/run.sh VERIDICAL DATA WORK SEEDS...      (DATA: what prepare.py wrote)
# Several copies may share WORK: each takes a run that no other has begun. Each takes one core.
set -euo pipefail
veridical=$1 data=$2 work=$3
shift 3
export RAYON_NUM_THREADS=1
mkdir -p "$work"
judge=$work/judge.safetensors
[ -e "$judge" ] || { echo "no $judge: make it with veridical classifier, of the labelled 14x14 images, as sfbd_fashion/run.sh does"; exit 1; }
common=(--preset fashion --data "$data/clean.npz" --device cpu --set data.labels=false --set model.model_channels=16 --set model.channel_mult=[1,2]
    --set optimizer.warm_up=2560 --set average.half_life=4000 --set train.sample_every=0 --set sampling.columns=10 --set sampling.rows=5
    --set judge.images=1000 --set "judge.features='$judge'")
images=40960

take() { # NAME SEED COMMAND...: unless it is there, or another copy is at it
    local out=$work/$1-$2
    if [ -e "$out/metrics.json" ] || ! mkdir "$out.begun" 2>/dev/null; then return 0; fi
    "$veridical" "${@:3}" --seed "$2" --out "$out" --overwrite "${common[@]}" >"$out.log" 2>&1 || { echo "failed: $out"; rmdir "$out.begun"; }
}

for seed in "$@"; do
    take clean "$seed" ambient --on clean --images $images --noisy "$data/noisy.npy" --sigma 0.59
    for of in levels pooled; do
        sigma=$data/levels.npy
        [ $of = levels ] || sigma=0.6398
        take ambient-$of "$seed" ambient --on both --images $images --noisy "$data/varied.npy" --sigma "$sigma"
        take sfbd-$of "$seed" sfbd --images $images --rounds 2 --set sfbd.steps=14 --set sfbd.half_life_share=0.6 --noisy "$data/varied.npy" --sigma "$sigma"
    done
    for sigma in 0.59 0.3 0.45 0.75 1.0; do
        take "wrong-$sigma" "$seed" sfbd --images $images --rounds 2 --set sfbd.steps=14 --set sfbd.half_life_share=0.6 --noisy "$data/noisy.npy" --sigma $sigma
    done
done
