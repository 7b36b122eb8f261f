#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/layers/run.sh rates higher layers schedules
# rates      nine arms (points.py) at five rates, one seed, the loss of 200 validation dialogues
# higher     the same at two rates more, since the highest of the five had won everywhere
# layers     each at its best rate with five seeds: loss, greedy replies, replies under one bias
# schedules  constant, wsd and cosine at three rates and two lengths, three seeds
set -euo pipefail

here=$(dirname "$(realpath "$0")")
base=(--profile "${PROFILE:-lab}" --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}")
base+=(--set "context=${CONTEXT:-history+state+db}" --set alpha_over_rank=2 --set lora_dropout=0.05)
base+=(--set batch_turns=32 --pack "${PACK:-8}" --asha off --confirm 0)

search() {  # SPACE POINTS SEEDS TURNS FLAG...
  python3 -m tune.run --space "$here/$1.py" --name "${NAME:-$1}" "${base[@]}" --trials $(($2 * $3)) \
    --seeds "$3" --train-turns "$4" "${@:5}"
}

rates() {
  search rates "${1:-45}" 1 "${RATE_TURNS:-5000}" --set schedule=cosine --objective loss --rungs "" \
    --eval-dialogues "${LOSS_DIALOGUES:-200}" --no-baseline
}

higher() { NAME=higher RATES="${HIGHER:-1.28e-2 2.56e-2}" rates 18; }

layers() {
  search layers 9 "${SEEDS:-5}" "${TURNS:-8000}" --set schedule=cosine --rungs "" \
    --eval-dialogues "${DIALOGUES:-400}" --calibrate
}

schedules() {
  search schedules 12 "${SCHEDULE_SEEDS:-3}" "${SCHEDULE_TURNS:-12000}" --set lora_modules=all-linear \
    --set lora_rank=8 --rung-metric loss --rungs "${RUNGS:-4000}" \
    --eval-dialogues "${SCHEDULE_DIALOGUES:-200,200}" --no-baseline
}

for stage in "$@"; do "$stage"; done
