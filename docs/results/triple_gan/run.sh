#!/usr/bin/env bash
# The runs behind README.md.
#   docs/results/triple_gan/run.sh VERIDICAL DATA NAME LABELLED WORK ITERATIONS PRETRAINING SEEDS...
# DATA is a folder of idx files (optdigits.py makes them of the UCI set) or `digits`, NAME what it is called in the names of runs; ITERATIONS come after PRETRAINING
# steps of the classifier alone. Several copies may share WORK; a run that is there, or in results.json, is not made again, one that was broken off goes on. Each takes one core.
set -euo pipefail
veridical=$1 data=$2 name=$3 labelled=$4 work=$5 iterations=$6 pretraining=$7
shift 7
export RAYON_NUM_THREADS=1
# Half of the paper's, so that twice as many iterations take as long.
batches="--set triple_gan.labelled=50 --set triple_gan.unlabelled=50 --set triple_gan.generated=50 --set triple_gan.joined=50"
mkdir -p "$work"

# Whether results.json has the figures of this run already.
results=$(dirname "$0")/results.json
known() { # BASELINE SEED
    python3 -c 'import json, sys
results, name, labelled, baseline, seed = sys.argv[1:]
sys.exit(seed not in json.load(open(results)).get(name, {}).get(labelled, {}).get(baseline, {}))' "$results" "$name" "$labelled" "$1" "$2" 2>/dev/null
}

for seed in "$@"; do
    for baseline in supervised entropy feature-matching none; do
        out=$work/$name-$labelled-$baseline-$seed
        if known $baseline "$seed"; then continue; fi
        # shellcheck disable=SC2086
        (   # a lock goes with the process that holds it
            flock --nonblock 9 || exit 0
            if grep -qs '"finished": true' "$out/metrics.json"; then exit 0; fi
            if [ -e "$out/config.toml" ]; then
                "$veridical" triple-gan --resume --out "$out" 2>>"$out.log" >&2 || echo "failed: $out"
            else
                "$veridical" triple-gan --device cpu --data "$data" --labelled "$labelled" --baseline $baseline --seed "$seed" --out "$out" \
                    --set triple_gan.iterations="$iterations" --set triple_gan.pretraining="$pretraining" $batches --set train.show_every=0 2>"$out.log" >&2 || echo "failed: $out"
            fi
        ) 9>"$out.lock"
    done
done
