#!/usr/bin/env bash
# Makes what this folder records, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/small_cards/run.sh fp16 bf16 race
# fp16, bf16  three points (precision.py), three seeds each, on a GPU of which GIB are used
# race        a race of 16 trials in fp16, stopped and proposed as ever
set -euo pipefail

here=$(dirname "$(realpath "$0")")
base=(--profile "${PROFILE:-lab}" --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}")
base+=(--set context=history+state+db --set alpha_over_rank=2 --set lora_dropout=0.05 --set lora_rank=8)
base+=(--set batch_turns=32 --set schedule=cosine --confirm 0)
export QLORA_DIALOGUE_GPU_GIB="${GIB:-14}"

points() {
  python3 -m tune.run --space "$here/precision.py" --name "$1" "${base[@]}" --trials 9 --seeds 3 --asha off \
    --set "compute=$1" --train-turns "${TURNS:-5000}" --rungs "" --eval-dialogues "${DIALOGUES:-200}" \
    --calibrate --pack "${PACK:-9}" --no-baseline
}

fp16() { points fp16; }
bf16() { points bf16; }

race() {
  python3 -m tune.run --space lora_modules --name race "${base[@]}" --trials 16 --set compute=fp16 \
    --train-turns "${TURNS:-5000}" --eval-dialogues "${RACE_DIALOGUES:-50,100,200}"
}

for stage in "$@"; do "$stage"; done
