#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/, for every model:
#   MODELS="NAME=FOLDER_OR_ID ..." CORPUS=FOLDER_OR_NAME SGD=FOLDER analysis/results/models/run.sh STAGE...
# untuned   as they are: lines and chat, without and with an instruction
# search    TRIALS settings of the space qlora with state and matches in the prompt and a decaying rate
# tuned     the best of them with three seeds, replies greedy and under one fixed bias
# levers    the same with a plan, with what was asked, with both
# acts      the same with a plan of acts, of a corpus that annotates them
# booked    the same with what is booked in the prompt, and with a plan, too
# average   the three seeds of `tuned` as one adapter
# sgd       Schema-Guided Dialogue first, then the corpus from that adapter
# sampled   the corpus with the model's own replies where they say what the corpus's say
# states    the model finds the states itself
# gold      the same, trained on the dialogues alone whose states are not a model's
# final     the best setting, for longer
# planned   the same with a plan before the reply
# final_booked, planned_booked   these with what is booked in the prompt
# served    states, plan and reply by the model, behind its own earlier ones, for longer: end-to-end
# own       the replies of stage OF behind the model's own earlier replies
# test      stage OF (own-STAGE: behind the model's own) once, on test, greedy and under the bias
# ceilings  how far replies alone and states alone could go, from replies that were made (no GPU)
# check     the replies of `test` scored by mwzeval, too (no GPU)
# table     all of it as table.md and table.csv (no GPU)
set -euo pipefail

here=$(dirname "$(realpath "$0")")
shared=(--profile "${PROFILE:-lab}" --set "corpus=${CORPUS:?}")
[ "${PROFILE:-lab}" = lab ] && shared+=(--set quantisation=nf4)
ended=(--asha off --rungs "" --confirm 0 --no-baseline --pack "${PACK:-8}")
validated=(--eval-dialogues "${DIALOGUES:-500}")

train() {  # NAME SPACE TRIALS SEEDS FLAG...: from the best setting of the model's search, or of SEARCH
  SEARCH="${SEARCH:-search-$model}" python3 -m tune.run --space "$here/$2.py" --name "$1-$model" \
    "${shared[@]}" "${base[@]}" "${ended[@]}" --trials "$3" --seeds "$4" \
    --train-turns "${TURNS:-18000}" "${@:5}"
}

checkpoint() {  # SWEEP: the adapter of its best trial
  python3 "$here/checkpoint.py" "$1"
}

untuned() {
  try_untuned "lines chat" 4 || try_untuned lines 2  # a base model has no chat template
}

try_untuned() {  # LAYOUTS TRIALS
  LAYOUTS=$1 python3 -m tune.run --space "$here/untuned.py" --name "untuned-$model" \
    "${shared[@]}" "${base[@]}" "${ended[@]}" --trials "$2" --calibrate \
    --eval-dialogues "${UNTUNED_DIALOGUES:-400}"
}

search() {
  python3 -m tune.run --space qlora --name "search-$model" "${shared[@]}" "${base[@]}" \
    --set context=history+state+db --set schedule=cosine --warm-start "$here/../smollm2/qlora" \
    --pack "${PACK:-8}" --trials "${TRIALS:-16}" --asha promote --eta 3 --confirm 0 --no-baseline \
    --train-turns "${SEARCH_TURNS:-12000}" --rungs "${RUNGS:-1500,4500}" \
    --eval-dialogues "${SEARCH_DIALOGUES:-100,100,200}"
}

tuned() { train tuned best 3 3 "${validated[@]}" --calibrate; }

levers() { LEVERS="plan,asked,plan asked" train levers levers 9 3 "${validated[@]}" --calibrate; }

acts() { LEVERS=acts train acts levers 3 3 "${validated[@]}" --calibrate; }

booked() { LEVERS="booked,plan booked" train booked levers 6 3 "${validated[@]}" --calibrate; }

average() {
  rm -rf "runs/average-$model"
  python3 -m tune.average "tuned-$model" --out "runs/average-$model"
  score "runs/average-$model" average validation 0 "${DIALOGUES:-500}"
}

score() {  # ADAPTER NAME SPLIT SEED DIALOGUES FLAG...: greedy and under one fixed bias, with the replies
  local way flags out=runs/scored/$2/$model
  mkdir -p "$out/replies"
  for way in greedy bias; do
    flags=("${@:6}")
    [ $way = bias ] && flags+=(--set placeholder_bias=1)
    python3 -m tune.evaluate --adapter "$1" --base-model "$place" --corpus "$CORPUS" --split "$3" \
      ${5:+--dialogues "$5"} "${flags[@]}" --json "$out/$way-$4.json" --responses "$out/replies/$way-$4.json"
  done
}

sgd() {
  train sgd-first best 1 1 --eval-dialogues "${SGD_DIALOGUES:-100}" \
    --set "corpus=${SGD:?}" --set "context=${SGD_CONTEXT:-history+state}" --train-turns "${SGD_TURNS:-30000}"
  train sgd best 3 3 "${validated[@]}" --calibrate --set "adapter=$(checkpoint "sgd-first-$model")"
}

sampled() {
  local corpus=$PWD/runs/own-$model
  rm -rf "$corpus"
  python3 -m tune.sample --adapter "$(checkpoint "tuned-$model")" --base-model "$place" \
    --corpus "$CORPUS" --samples "${SAMPLES:-4}" ${SAMPLED_DIALOGUES:+--dialogues "$SAMPLED_DIALOGUES"} \
    --out "$corpus"
  train sampled best 3 3 "${validated[@]}" --calibrate --set "corpus=$corpus"
}

states() { find_states states "$CORPUS"; }

gold() {
  [ -d "$PWD/runs/gold" ] || python3 "$here/gold.py" "$CORPUS" "$PWD/runs/gold"
  find_states gold "$PWD/runs/gold"
}

find_states() {  # NAME CORPUS
  train "$1" best 3 3 "${validated[@]}" --calibrate --set target=state+response --set "corpus=$2"
}

room=(--set max_new_tokens=100)  # for the plan
bookings=(--set context=history+state+db+booked)

final() { train_longer final; }

planned() { train_longer planned --set target=plan+response "${room[@]}"; }

final_booked() { train_longer final_booked "${bookings[@]}"; }

planned_booked() { train_longer planned_booked --set target=plan+response "${room[@]}" "${bookings[@]}"; }

served() {
  train_longer served --set target=state+plan+response "${room[@]}" "${bookings[@]}" --set earlier_replies=own
}

train_longer() {  # NAME FLAG...
  train "$1" best 3 3 --eval-dialogues "${FINAL_DIALOGUES:-1000}" --calibrate \
    --train-turns "${FINAL_TURNS:-110000}" "${@:2}"
}

own() { score_seeds "own-${OF:?}" validation "${FINAL_DIALOGUES:-1000}"; }

test() { score_seeds "${OF:?}" test "${TEST_DIALOGUES:-}" test-; }

score_seeds() {  # STAGE SPLIT DIALOGUES [PREFIX]: all seeds; own-STAGE: behind their own earlier replies
  local trial seed=0 flags=()
  [[ $1 = own-* ]] && flags=(--set earlier_replies=own)
  for trial in $(python3 "$here/checkpoint.py" --seeds "${1#own-}-$model"); do
    score "$trial" "${4:-}$1" "$2" $((seed++)) "$3" "${flags[@]}"
  done
}

ceilings() {
  local stage seed
  mkdir -p runs/ceilings
  for stage in tuned states gold final planned final_booked planned_booked served; do
    find_ceilings "$stage-$model" "runs/$stage-$model/trials/0000/responses.json" validation
  done
  for seed in 0 1 2; do
    find_ceilings "test-served-$model-$seed" "runs/scored/test-served/$model/replies/greedy-$seed.json" test
  done
}

find_ceilings() {  # NAME REPLIES SPLIT: where there are such replies
  [ -f "$2" ] || return 0
  python3 -m tune.ceilings --predictions "$2" --corpus "$CORPUS" --split "$3" --partial --json >runs/ceilings/part
  mv runs/ceilings/part "runs/ceilings/$1.json"
}

check() {
  local replies
  for replies in runs/scored/test-*/"$model"/replies/*.json; do
    python3 -m tune.evaluate --predictions "$replies" --corpus "$CORPUS" --split test \
      ${TEST_DIALOGUES:+--partial} --cross-check
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
