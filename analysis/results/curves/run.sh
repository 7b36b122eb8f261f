#!/usr/bin/env bash
# Makes the curves that this folder records, one stage at a time, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/curves/run.sh smollm2 repeated last
#   analysis/results/curves/run.sh embedded more
# smollm2    64 points on a GPU, one seed
# repeated   a random 16 of them with two more seeds
# last       the same 16, seed 0, with the last weights in place of their average
# embedded   64 points of the embedded model with three seeds, on a CPU
# more       64 points more
set -euo pipefail

points=$(dirname "$(realpath "$0")")/points.py

pool() {  # NAME DRAW TRIALS FLAG...
  DRAW=$2 python3 -m tune.run --space "$points" --name "$1" --trials "$3" --asha off --rung-metric combined \
    --confirm 0 --no-baseline "${@:4}"
}

on_a_gpu() {  # NAME DRAW TRIALS FLAG...
  pool "$@" --profile lab --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}" --pack "${PACK:-8}" \
    --train-turns "${TURNS:-6000}" --rungs "${RUNGS:-750,1500,3000}" --eval-dialogues "${DIALOGUES:-100,100,100,1000}"
}

on_a_cpu() {  # NAME DRAW
  pool "$1" "$2" 192 --profile tiny --seeds 3 --concurrent "${CONCURRENT:-2}" --train-turns 1600 \
    --rungs 200,400,800 --eval-dialogues 30,30,30,100
}

smollm2() { on_a_gpu smollm2 0-63 64; }
repeated() { on_a_gpu repeated repeated 32 --seed 1 --seeds 2; }
last() { on_a_gpu last repeated 16 --set averaging=0; }
embedded() { on_a_cpu embedded 0-63; }
more() { on_a_cpu more 64-127; }

for stage in "$@"; do "$stage"; done
