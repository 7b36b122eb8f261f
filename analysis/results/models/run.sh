#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/, for every model:
#   MODELS="NAME=FOLDER_OR_ID ..." CORPUS=FOLDER_OR_NAME SGD=FOLDER analysis/results/models/run.sh STAGE...
# untuned   as they are: lines and chat, without and with an instruction
# search    TRIALS settings of the space qlora, ASHA's promotion of the best third
# tuned     the best of them with three seeds, replies greedy and under one fixed bias
# levers    from the best setting, with state and matches in the prompt: as it is, a plan, what was asked, both
# average   the three seeds of `tuned` as one adapter
# sgd       Schema-Guided Dialogue first, then the corpus from that adapter
# sampled   the corpus with the model's own replies where they say what the corpus's say
# states    the model finds the states itself; how far replies and states alone could go
# test      the sweep TEST_OF (NAME of a stage: levers, tuned ...), once, on test
# table     all of it as table.md and table.csv
set -euo pipefail

here=$(dirname "$(realpath "$0")")
instruction=${INSTRUCTION:-"You are the system in a task-oriented dialogue: help the user find and book places, and write every name, number and address as a placeholder in brackets."}
shared=(--profile "${PROFILE:-lab}" --set "corpus=${CORPUS:?}")
[ "${PROFILE:-lab}" = lab ] && shared+=(--set quantisation=nf4)
ended=(--asha off --rungs "" --confirm 0 --no-baseline --pack "${PACK:-4}")
validated=(--eval-dialogues "${DIALOGUES:-1000}")

train() {  # NAME SPACE TRIALS SEEDS FLAG...: from the best setting of the model's search
  SEARCH="search-$model" python3 -m tune.run --space "$here/$2.py" --name "$1-$model" \
    "${shared[@]}" "${base[@]}" "${ended[@]}" --trials "$3" --seeds "$4" \
    --train-turns "${TURNS:-36000}" "${@:5}"
}

checkpoint() {  # SWEEP: the adapter of its best trial
  python3 "$here/checkpoint.py" "$1"
}

untuned() {
  local layout
  for layout in lines chat; do
    for told in null "\"$instruction\""; do
      python3 -m tune.baseline --name "untuned-$model-$layout-$([ "$told" = null ] && echo bare || echo told)" \
        "${shared[@]}" "${base[@]}" --set "layout=$layout" --set "instruction=$told" \
        --dialogues "${DIALOGUES:-1000}" || [ $layout = chat ]  # a base model has no chat template
    done
  done
}

search() {
  python3 -m tune.run --space qlora --name "search-$model" "${shared[@]}" "${base[@]}" \
    --pack "${PACK:-4}" --trials "${TRIALS:-24}" --asha promote --eta 3 --confirm 0 --no-baseline \
    --train-turns "${SEARCH_TURNS:-12000}" --rungs "${RUNGS:-1500,4500}" \
    --eval-dialogues "${SEARCH_DIALOGUES:-200,200,400}"
}

tuned() { train tuned best 3 3 "${validated[@]}" --calibrate; }

levers() { train levers levers 12 3 "${validated[@]}" --calibrate; }

average() {
  rm -rf "runs/average-$model"
  python3 -m tune.average "tuned-$model" --out "runs/average-$model"
  score "runs/average-$model" "runs/average-$model.json"
}

score() {  # ADAPTER FILE FLAG...: on validation
  python3 -m tune.evaluate --adapter "$1" --base-model "$place" --corpus "$CORPUS" \
    --split validation --dialogues "${DIALOGUES:-1000}" --json "$2" "${@:3}"
}

sgd() {
  CORPUS="${SGD:?}" train sgd-first best 1 1 --eval-dialogues "${SGD_DIALOGUES:-200}" \
    --set "corpus=$SGD" --set "context=${SGD_CONTEXT:-history+state}" --train-turns "${SGD_TURNS:-30000}"
  train sgd best 3 3 "${validated[@]}" --calibrate --set "adapter=$(checkpoint "sgd-first-$model")"
}

sampled() {
  local corpus=$PWD/runs/own-$model
  rm -rf "$corpus"
  python3 -m tune.sample --adapter "$(checkpoint "tuned-$model")" --base-model "$place" \
    --corpus "$CORPUS" --samples "${SAMPLES:-8}" ${SAMPLED_DIALOGUES:+--dialogues "$SAMPLED_DIALOGUES"} \
    --out "$corpus"
  train sampled best 3 3 "${validated[@]}" --calibrate --set "corpus=$corpus"
}

states() {
  train states best 3 3 "${validated[@]}" --set target=state+response --set context=history+state+db
  score "$(checkpoint "states-$model")" "runs/states-$model.json" --responses "runs/states-$model-replies.json"
  python3 -m tune.ceilings --predictions "runs/states-$model-replies.json" --corpus "$CORPUS" --partial \
    --json >"runs/ceilings-$model.json"
}

test() {
  local check=() trial
  python3 -c "import mwzeval" 2>/dev/null && check=(--cross-check)
  for trial in $(python3 "$here/checkpoint.py" --seeds "${TEST_OF:?}-$model"); do
    python3 -m tune.evaluate --adapter "$trial" --base-model "$place" --corpus "$CORPUS" --split test \
      ${TEST_DIALOGUES:+--dialogues "$TEST_DIALOGUES"} "${check[@]}" \
      --json "runs/test-$model-$(basename "$(dirname "$trial")").json"
  done
}

for stage in "$@"; do
  if [ "$stage" = table ]; then python3 "$here/table.py" runs; continue; fi
  for each in ${MODELS:?}; do
    model=${each%%=*} place=${each#*=}
    base=(--set "base_model=$place")
    "$stage"
  done
done
