#!/usr/bin/env bash
# The runs behind README.md: every method on MNIST with few labels, in two protocols, and on five multi-label sets.
#   docs/results/kdgan/run.sh VERIDICAL MNIST MULAN WORK PART SEEDS...
# MNIST is the folder with the four idx files, MULAN that with the folders of the multi-label sets. PART is mnist-100, mnist-1000, mnist-10000, estimators or
# tables. Several copies may share WORK; a run that is there is not made again, one that was broken off goes on.
set -euo pipefail
veridical=$1 mnist=$2 mulan=$3 work=$4 part=$5
shift 5
mkdir -p "$work"
methods="ce mimic distn noisy codis nagan kdgan"

# run NAME ARGUMENTS...: once, by whichever copy comes first. A lock goes with the process that holds it.
run() {
    local out=$work/$1
    shift
    (
        flock --nonblock 9 || exit 0
        if grep -qs '"finished": true' "$out/metrics.json"; then exit 0; fi
        if [ -e "$out/config.toml" ]; then
            "$veridical" kdgan --resume --out "$out" 2>>"$out.log" || echo "failed: $out"
        else
            "$veridical" kdgan --device cpu --out "$out" --set train.show_every=0 "$@" 2>"$out.log" || echo "failed: $out"
        fi
    ) 9>"$out.lock"
}

# Weights of the game, chosen on 5,000 training images that were set apart, with seed 100 (README.md says how).
game() { # N
    case $1 in
        100) echo "--set kdgan.alpha=0.5 --set kdgan.beta=1" ;;
        *) echo "--set kdgan.alpha=0.5 --set kdgan.beta=1" ;;
    esac
}

for seed in "$@"; do
    case $part in
        mnist-*)
            n=${part#mnist-}
            for subset in last balanced; do
                for method in $methods; do
                    # shellcheck disable=SC2046
                    run "mnist-$n-$subset-$method-$seed" --data "$mnist" --labelled "$n" --subset $subset --method "$method" --seed "$seed" $(game "$n")
                done
                run "mnist-$n-$subset-ce-plain-$seed" --data "$mnist" --labelled "$n" --subset $subset --method ce --seed "$seed" \
                    --set augment.rotation=0 --set augment.shift=0 --set augment.zoom=0
                run "mnist-$n-$subset-code2018-$seed" --data "$mnist" --labelled "$n" --subset $subset --method kdgan --seed "$seed" \
                    --set kdgan.variant=code-2018 --set augment.pretraining=false
            done
            ;;
        estimators)
            for estimator in reinforce reinforce-baseline gumbel straight-through rao-blackwell reward; do
                # shellcheck disable=SC2046
                run "mnist-100-last-kdgan-$estimator-$seed" --data "$mnist" --labelled 100 --subset last --method kdgan --seed "$seed" $(game 100) \
                    --set kdgan.estimator=$estimator
            done
            ;;
        tables)
            for set in emotions scene yeast bibtex corel5k; do
                for method in $methods; do
                    run "$set-$method-$seed" --data "$mulan/$set" --method "$method" --seed "$seed"
                done
            done
            ;;
        *)
            echo "no such part: $part" >&2
            exit 2
            ;;
    esac
done
