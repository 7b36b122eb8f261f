#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/methods/run.sh cost rates methods
# cost       a turn's time in each variant, eight trials of it on the model (costs.json here, or COSTS)
# rates      nine variants (points.py) at four rates, one seed, the loss of 200 validation dialogues
# methods    each at its best rate with five seeds, and what costs more a turn for plain LoRA's time, too
set -euo pipefail

here=$(dirname "$(realpath "$0")")
fields=(--set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}" --set "context=${CONTEXT:-history+state+db}")
fields+=(--set alpha_over_rank=2 --set lora_dropout=0.05 --set batch_turns=32 --profile "${PROFILE:-lab}")
base=("${fields[@]}" --set schedule=cosine --set lora_rank=8 --pack "${PACK:-8}" --asha off --confirm 0)
base+=(--rungs "" --no-baseline)

cost() {
  python3 "$here/cost.py" "${COSTS:-$here/costs.json}" "${fields[@]}" --slots "${PACK:-8}" --seconds "${SECONDS_EACH:-1}"
}

rates() {
  python3 -m tune.run --space "$here/rates.py" --name rates "${base[@]}" --trials 36 \
    --train-turns "${RATE_TURNS:-2400}" --objective loss --eval-dialogues "${LOSS_DIALOGUES:-200}"
}

methods() {
  local points
  points=$(cd "$here" && python3 -c "import points; print(sum(map(len, points.list_lengths().values())))")
  python3 -m tune.run --space "$here/methods.py" --name methods "${base[@]}" --seeds "${SEEDS:-5}" \
    --trials $((points * ${SEEDS:-5})) --train-turns "${TURNS:-4000}" --objective "${OBJECTIVE:-loss}" \
    --eval-dialogues "${DIALOGUES:-400}"
}

for stage in "$@"; do "$stage"; done
