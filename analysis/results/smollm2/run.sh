#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/smollm2/run.sh STAGE...
# sweep     64 settings of the space qlora, ASHA's promotion of the best third, on the GPUs there are
# modules   which layers: five selections, three seeds each, equal training, the rest as the sweep's best
# long      the sweep's best setting on all of train, its rate decaying: as it is, and three variants
# best      the best of these with three seeds, exported
# decoding  how the first of them should reply, on validation: each way once, then how eagerly it
#           should give placeholders
# score     each of them on test, once, replying so
# speed     iterations a second: the first adapter of `best`, alone and eight of them
# shapes    the same of other models' shapes, with random weights
# usual     what the usual ways do in a second
# costs     what the answer cost, and would have cost so
# More GPUs: ../hosts/run.sh
set -euo pipefail

here=$(dirname "$(realpath "$0")")
profile=${PROFILE:-lab}
best_of=${BEST_OF:-qlora}  # the sweep whose best setting the later stages take
base=(--profile "$profile" --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}")
[ "$profile" = lab ] && base+=(--set quantisation=nf4)

sweep() {
  python3 -m tune.run --space qlora "${base[@]}" --name qlora --pack "${PACK:-8}" \
    --trials "${TRIALS:-64}" --asha promote --eta "${ETA:-3}" --train-turns "${TURNS:-36000}" \
    --rungs "${RUNGS:-4000,12000}" --eval-dialogues "${DIALOGUES:-64,128,400}"
}

best_flags() {  # SWEEP FIELD...: the searched fields of its best trial, as flags; without those named
  python3 - "$@" <<'PYTHON'
import sys
from analysis.ranking import find_best
from analysis.records import find_sweep, read_sweep

best = find_best(read_sweep(find_sweep(sys.argv[1]))).trial.params
print(*(f"--set {name}={value}" for name, value in best.items() if name not in sys.argv[2:]))
PYTHON
}

modules() {
  local setting
  setting=$(best_flags "$best_of" lora_modules)
  python3 -m tune.run --space lora_modules "${base[@]}" $setting \
    --name modules --pack "${PACK:-8}" --trials 15 --seeds 3 --asha off \
    --train-turns "${MODULE_TURNS:-16000}" --rungs "${MODULE_RUNGS:-5000}" \
    --eval-dialogues "${MODULE_DIALOGUES:-100,500}"
}

long() {
  local setting
  spell_long >runs/long.py
  setting=$(best_flags "$best_of" lora_modules learning_rate lora_dropout schedule)
  BEST_OF=$best_of python3 -m tune.run --space runs/long.py "${base[@]}" $setting \
    --set schedule=cosine --name long --pack 4 --trials 4 --asha off \
    --train-turns "${BEST_TURNS:-114000}" --rungs "${BEST_RUNGS:-57000}" \
    --eval-dialogues "${BEST_DIALOGUES:-200,1000}"
}

spell_long() {  # the best setting as it is, at lower rates with more dropout, and on other layers
  cat <<'PYTHON'
import os

from optuna.distributions import FloatDistribution

from analysis.ranking import find_best
from analysis.records import find_sweep, read_sweep
from search_spaces.qlora import SPACE as QLORA
from search_spaces.space import Space

best = find_best(read_sweep(find_sweep(os.environ["BEST_OF"]))).trial.params
names = ("lora_modules", "learning_rate", "lora_dropout")
modules, rate, dropout = (best[name] for name in names)

SPACE = Space(
    name="long",
    question="What does longer training want?",
    searched={
        "lora_modules": QLORA.searched["lora_modules"],
        "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
        "lora_dropout": FloatDistribution(0.0, 0.5),
    },
    first=tuple(
        dict(zip(names, point, strict=True))
        for point in (
            (modules, rate, dropout),
            (modules, rate / 2, 0.1),
            (modules, rate / 4, 0.1),
            ("ffn" if modules == "all-linear" else "all-linear", rate / 2, 0.1),
        )
    ),
)
PYTHON
}

trained_flags() {  # of `best`
  best_flags "$best_of" lora_modules learning_rate lora_dropout schedule
  best_flags long
  echo --set schedule=cosine
}

best() {
  python3 -m tune.run --space lora_modules "${base[@]}" $(trained_flags) --name best --pack 3 \
    --trials 3 --seeds 3 --asha off --train-turns "${BEST_TURNS:-114000}" \
    --rungs "${BEST_RUNGS:-57000}" --eval-dialogues "${BEST_DIALOGUES:-200,1000}"
  for trial in 0000 0001 0002; do
    python3 -m tune.export best --trial $trial --out "runs/best/export/$trial" \
      --base-model-id "${MODEL_ID:-HuggingFaceTB/SmolLM2-135M-Instruct}"
  done
}

decoding() {
  replies ways "${WAYS:-9}" "${WAYS_DIALOGUES:-200}"
  replies bias "${BIASES:-16}" "${BIAS_DIALOGUES:-1000}" --set decoding=greedy \
    --set min_new_tokens=0 --set repetition_penalty=1.0 --set no_repeat_ngram_size=0
}

replies() {  # NAME TRIALS DIALOGUES FLAG...
  python3 -m tune.run --space decoding "${base[@]}" --set adapter="$PWD/runs/best/export/0000" \
    --name "$1" --pack "${PACK:-8}" --asha off --trials "$2" --rungs "" --eval-dialogues "$3" \
    --no-baseline "${@:4}"
}

score() {
  local setting
  setting=$(best_flags bias)
  for trial in 0000 0001 0002; do
    python3 -m tune.evaluate --adapter "runs/best/export/$trial" --base-model "$MODEL" \
      --corpus "$CORPUS" --split test $setting --json "runs/best/test-$trial.json"
  done
}

speed() {
  local setting
  setting="$(trained_flags) --set adapter=$PWD/runs/best/export/0000 --set learning_rate=1e-6"
  for slots in 1 8; do
    python3 -m tune.bench "${base[@]}" $setting --pack $slots --seconds 8 \
      --dialogues "${SPEED_DIALOGUES:-1000}" --json | tee -a runs/speed.jsonl
  done
}

shapes() {  # their vocabulary is the tokenizer's
  for shape in ${SHAPES:-pythia-70m pythia-1.4b llama-7b}; do
    python3 "$here/../shape.py" "$shape" "runs/shapes/$shape"
    python3 -m tune.bench --profile "$profile" --set "corpus=$CORPUS" --set quantisation=nf4 \
      --set "base_model=runs/shapes/$shape" --set initialisation=random --seconds 8 \
      --dialogues 8 --json | tee -a runs/shapes.jsonl
  done
}

usual() {
  local checkpoint
  checkpoint=$(ls -d "runs/$best_of"/checkpoints/[0-9]*/* | sort -t/ -k5 -n | tail -1)
  python3 -m tune.bench.baselines --checkpoint "$checkpoint" --reply-batches 16 256 \
    --processes "${PROCESSES:-8}" --dialogues 16 --engine-dialogues 400 --seconds 5 | tee runs/rates.jsonl
}

costs() {
  python3 -m analysis.cost qlora --rates runs/rates.jsonl | tee runs/cost-qlora.md
}

for stage in "$@"; do "$stage"; done
