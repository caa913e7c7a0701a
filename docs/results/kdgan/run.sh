#!/usr/bin/env bash
# The runs behind README.md: every method on MNIST with few labels, in two protocols, and on five multi-label sets.
#   docs/results/kdgan/run.sh VERIDICAL MNIST MULAN WORK PART SEEDS...
# MNIST is the folder with the four idx files, MULAN that with the folders of the multi-label sets. PART is choose-100, choose-1000 (settings, on training images set
# apart; seed 100), mnist-100, mnist-1000, mnist-10000, estimators or tables. Several copies may share WORK; a run that is there is not made again, one that was broken
# off goes on. Each takes one core (RAYON_NUM_THREADS=1), which is what makes runs of different methods comparable in time.
set -euo pipefail
veridical=$1 mnist=$2 mulan=$3 work=$4 part=$5
shift 5
export RAYON_NUM_THREADS=1
mkdir -p "$work"
methods="ce mimic distn noisy codis nagan kdgan"

# Whether results.json has the figures of this run already.
results=$(dirname "$0")/results.json
known() { # NAME-SEED
    python3 -c 'import json, sys
name, seed = sys.argv[2].rsplit("-", 1)
sys.exit(seed not in json.load(open(sys.argv[1])).get(name, {}))' "$results" "$1" 2>/dev/null
}

# run NAME ARGUMENTS...: once, by whichever copy comes first. A lock goes with the process that holds it.
run() {
    local out=$work/$1
    if known "$1"; then return; fi
    shift
    (
        flock --nonblock 9 || exit 0
        if grep -qs '"finished": true' "$out/metrics.json"; then exit 0; fi
        if [ -e "$out/config.toml" ]; then
            "$veridical" kdgan --resume --out "$out" 2>>"$out.log" >&2 || echo "failed: $out"
        else
            "$veridical" kdgan --device cpu --out "$out" --set train.show_every=0 "$@" 2>"$out.log" >&2 || echo "failed: $out"
        fi
    ) 9>"$out.lock"
}

# The student's steps, the same for every method: those that come first are by labels.
steps() {
    case $part in
        choose-1000 | mnist-1000 | mnist-10000 | tables) echo "--set steps.student=1000 --set steps.pretraining=200 --set steps.batch=50" ;;
        *) echo "--set steps.student=2500 --set steps.pretraining=250 --set steps.batch=20" ;;
    esac
}

# What `choose-N` found best (10,000 labels take what 1,000 take); of the game without cross-entropy, which is the paper's.
chosen() { # N METHOD
    case $1-$2 in
        1000-codis | 10000-codis) echo "--set kdgan.beta=1" ;;
        1000-nagan | 10000-nagan) echo "--set kdgan.supervised=1" ;;
        1000-kdgan | 10000-kdgan) echo "--set kdgan.alpha=0.5 --set kdgan.beta=4" ;;
        100-codis) echo "--set kdgan.beta=0.25" ;;
        100-nagan) echo "--set kdgan.supervised=4" ;;
        100-kdgan) echo "--set kdgan.alpha=0.9 --set kdgan.beta=1" ;;
    esac
}

# on NAME N SUBSET METHOD SEED ARGUMENTS...
on() {
    local name=$1 n=$2 subset=$3 method=$4 seed=$5
    shift 5
    # shellcheck disable=SC2046
    run "$name-$seed" --data "$mnist" --labelled "$n" --subset "$subset" --method "$method" --seed "$seed" $(steps) "$@"
}

# Whoever learns of a trained teacher learns of the same one: that of cross-entropy. Where that one is not at hand any more they
# train it again, which comes to the same weights.
teacher() { # N SUBSET SEED
    local name=mnist-$1-$2-ce-$3
    local file=$work/$name/models/teacher.safetensors
    if known "$name" && [ ! -e "$file" ]; then return; fi
    while [ ! -e "$file" ]; do sleep 2; done
    echo "--set teacher.fixed=true --set teacher.file=$file"
}

for seed in "$@"; do
    case $part in
        choose-*)
            n=${part#choose-}
            apart="--set data.validation=5000"
            # shellcheck disable=SC2086
            for beta in 0.25 1 4; do
                on "choose-$n-codis-beta-$beta" "$n" last codis "$seed" $apart --set kdgan.beta=$beta
                for alpha in 0.1 0.5 0.9; do
                    on "choose-$n-kdgan-alpha-$alpha-beta-$beta" "$n" last kdgan "$seed" $apart --set kdgan.alpha=$alpha --set kdgan.beta=$beta
                done
            done
            for labels in 0 1 4; do
                on "choose-$n-nagan-supervised-$labels" "$n" last nagan "$seed" $apart --set kdgan.supervised=$labels
            done
            for labels in 1 4; do
                on "choose-$n-kdgan-alpha-0.5-beta-1-supervised-$labels" "$n" last kdgan "$seed" $apart --set kdgan.supervised=$labels
            done
            for softened in 0.3 0.7 0.9; do
                on "choose-$n-distn-softened-$softened" "$n" last distn "$seed" $apart --set kdgan.softened=$softened
            done
            ;;
        mnist-*)
            n=${part#mnist-}
            for subset in last balanced; do
                for method in $methods; do
                    # shellcheck disable=SC2046
                    case $method in
                        mimic | distn | noisy) set -- $(teacher "$n" $subset "$seed") ;;
                        *) set -- ;;
                    esac
                    # shellcheck disable=SC2046
                    on "mnist-$n-$subset-$method" "$n" $subset "$method" "$seed" $(chosen "$n" "$method") "$@"
                done
                if [ "$n" != 100 ]; then
                    on "mnist-$n-$subset-kdgan-supervised" "$n" $subset kdgan "$seed" --set kdgan.alpha=0.5 --set kdgan.beta=1 --set kdgan.supervised=1
                fi
                on "mnist-$n-$subset-ce-plain" "$n" $subset ce "$seed" --set augment.rotation=0 --set augment.shift=0 --set augment.zoom=0
                on "mnist-$n-$subset-code2018" "$n" $subset kdgan "$seed" --set kdgan.variant=code-2018 --set augment.pretraining=false \
                    --set student.lr=0.0005 --set teacher.lr=0.0005 --set kdgan.discriminator_steps=2
            done
            ;;
        estimators)
            for estimator in reinforce reinforce-baseline gumbel straight-through rao-blackwell reward; do
                # shellcheck disable=SC2046
                on "mnist-100-last-kdgan-$estimator" 100 last kdgan "$seed" $(chosen 100 kdgan) --set kdgan.estimator=$estimator
            done
            ;;
        tables)
            for set in emotions scene yeast bibtex corel5k; do
                for method in $methods; do
                    # shellcheck disable=SC2046
                    run "$set-$method-$seed" --data "$mulan/$set" --method "$method" --seed "$seed" $(steps)
                done
            done
            ;;
        *)
            echo "no such part: $part" >&2
            exit 2
            ;;
    esac
done
