#!/usr/bin/env bash
# The table of README.md: handwritten digits of which 4 % are clean, every method with 46,080 training images, measured on held-out digits.
#   docs/results/sfbd_digits/run.sh VERIDICAL WORK SEEDS...
set -euo pipefail
veridical=$1 work=$2
shift 2
mkdir -p "$work"
judge=$work/judge.safetensors
[ -e "$judge" ] || "$veridical" classifier --data digits --output "$judge" --device cpu
noisy=(--sigma 0.59 --clean-share 0.04 --device cpu --set sampling.columns=10 --set sampling.rows=5 --set train.sample_every=0
    --set judge.images=1000 --set "judge.features='$judge'")
total=46080 first=15360 round=7680
for seed in "$@"; do
    for method in clean noisy ambient sfbd-ode sfbd-sde online all-clean; do
        out=$work/$method-$seed
        [ -e "$out/metrics.json" ] && continue
        common=(--seed "$seed" --out "$out" "${noisy[@]}")
        [ -e "$out" ] && common+=(--overwrite)
        # An average as long as the other methods end with, a tenth of the whole.
        rounds=(--set train.images=$first --set sfbd.round_images=$round --set sfbd.half_life_share=0.6 --rounds 4)
        case $method in
        clean) "$veridical" ambient --on clean --images $total "${common[@]}" ;;
        noisy) "$veridical" ambient --on noisy --loss plain --images $total "${common[@]}" ;;
        all-clean) "$veridical" ambient --on all-clean --images $total "${common[@]}" ;;
        ambient) "$veridical" ambient --on both --images $total "${common[@]}" ;;
        sfbd-ode) "$veridical" sfbd --denoiser ode "${rounds[@]}" "${common[@]}" ;;
        sfbd-sde) "$veridical" sfbd --denoiser sde "${rounds[@]}" "${common[@]}" ;;
        online) "$veridical" sfbd --online --set train.images=$first --set online.images=$((total - first)) \
            --set online.ramp_images=$round "${common[@]}" ;;
        esac
    done
done
