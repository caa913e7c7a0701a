#!/usr/bin/env bash
# The tables of README.md: Fashion-MNIST at half its resolution, every method with 61,440 training images, measured on the test images.
#   docs/results/sfbd_fashion/run.sh VERIDICAL DATA WORK SEEDS...      (DATA: what halve.py wrote)
# Several copies may share WORK: each takes a run that no other has begun. Bits do not depend on the number of threads, so on two
# cores two copies with RAYON_NUM_THREADS=1 are the fastest. SETTINGS and METHODS choose some of them; LENGTH=3 makes everything that is
# counted in training images three times as long (with a WORK of its own).
set -euo pipefail
veridical=$1 data=$2 work=$3
shift 3
mkdir -p "$work"
judge=$work/judge.safetensors
length=${LENGTH:-1}
[ -e "$judge" ] || "$veridical" classifier --data "$data" --output "$judge" --epochs 3 --channels 32,64,128 --device cpu
common=(--preset fashion --data "$data" --device cpu --set model.model_channels=16 --set model.channel_mult=[1,2] --set optimizer.warm_up=2560
    --set average.half_life=$((8000 * length)) --set sampling.columns=10 --set sampling.rows=5 --set train.sample_every=0 --set judge.images=1000
    --set "judge.features='$judge'")
total=$((61440 * length)) first=$((20480 * length)) round=$((10240 * length))
# An average as long as the other methods end with, a tenth of the whole.
rounds=(--set train.images=$first --set sfbd.round_images=$round --set sfbd.half_life_share=0.6 --rounds 4)

take() { # METHOD SETTING SEED COMMAND...: unless it was not chosen, or is there, or another copy is at it
    [[ " ${METHODS:-$1} " == *" $1 "* ]] || return 0
    local out=$work/$1-$2-$3
    local as=("${@:4}" --seed "$3" --out "$out" "${common[@]}")
    if [ -e "$out/metrics.json" ] || ! mkdir "$out.begun" 2>/dev/null; then return; fi
    if [ -e "$out" ]; then as+=(--overwrite); fi
    "$veridical" "${as[@]}" || { rmdir "$out.begun"; return 1; }
}

read -ra settings <<<"${SETTINGS:-0.001-0.59 0.04-0.59 0.10-0.59 0.04-0.2}"
for setting in "${settings[@]}"; do
    share=${setting%-*} sigma=${setting#*-}
    from=(--clean-share "$share" --sigma "$sigma")
    for seed in "$@"; do
        [ "$share" != 0.04 ] || take noisy "$setting" "$seed" ambient --on noisy --loss plain --images $total "${from[@]}"
        [ "$setting" != 0.04-0.59 ] || take all-clean 1-0 "$seed" ambient --on all-clean --images $total "${from[@]}"
        [ "$sigma" != 0.59 ] || take clean "$share-0" "$seed" ambient --on clean --images $total "${from[@]}"
        take ambient "$setting" "$seed" ambient --on both --images $total "${from[@]}"
        take sfbd-ode "$setting" "$seed" sfbd --denoiser ode --set sfbd.steps=14 "${rounds[@]}" "${from[@]}"
        take online "$setting" "$seed" sfbd --online --set train.images=$first --set online.images=$((total - first)) \
            --set online.ramp_images=$round --set sfbd.steps=14 "${from[@]}"
    done
done
# What the optimiser and the average of the weights are worth that a round does not begin afresh.
if [[ $length != 1 && " ${settings[*]} " == *" 0.001-0.59 "* ]]; then
    for seed in "$@"; do
        take sfbd-kept 0.001-0.59 "$seed" sfbd --denoiser ode --set sfbd.steps=14 --set "sfbd.optimizer='kept'" "${rounds[@]}" --clean-share 0.001 --sigma 0.59
    done
fi
# One call a step instead of two, so that more steps take no longer; with few of them it draws from wider laws than the posterior.
for setting in "${settings[@]}"; do
    for seed in "$@"; do
        take sfbd-sde "$setting" "$seed" sfbd --denoiser sde "${rounds[@]}" --clean-share "${setting%-*}" --sigma "${setting#*-}"
    done
done
