#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/smollm2/run.sh STAGE...
# sweep     64 settings of the space qlora, ASHA's promotion of the best third, on the GPUs there are
# pair      the same (on two GPUs, under `four`); an engine is killed on the way
# quad      the same (on four)
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
# scaling   the sweeps on one, two and four GPUs side by side
# four      all of it, on a host with four GPUs
set -euo pipefail

script=$(realpath "$0")
profile=${PROFILE:-lab}
best_of=${BEST_OF:-qlora}  # the sweep whose best setting the later stages take
base=(--profile "$profile" --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}")
[ "$profile" = lab ] && base+=(--set quantisation=nf4)

search() {  # NAME
  python3 -m tune.run --space qlora "${base[@]}" --name "$1" --pack "${PACK:-8}" \
    --trials "${TRIALS:-64}" --asha promote --eta "${ETA:-3}" --train-turns "${TURNS:-36000}" \
    --rungs "${RUNGS:-4000,12000}" --eval-dialogues "${DIALOGUES:-64,128,400}"
}

sweep() { search qlora; }

pair() {
  search on-2-gpus &
  local driver=$!
  while kill -0 $driver 2>/dev/null && ! kill_an_engine on-2-gpus "${KILL_AFTER:-20}"; do sleep 2; done
  wait $driver
}

quad() { search on-4-gpus; }

kill_an_engine() {  # NAME EVALUATIONS: of the latest of so many
  local pid
  pid=$(python3 - "$@" <<'PYTHON'
import sys
from pathlib import Path
from analysis.records import find_sweep, read_sweep

name, least = sys.argv[1], int(sys.argv[2])
trials = read_sweep(find_sweep(name)).trials if Path("runs", name).is_dir() else []
evals = [e for t in trials for e in t.evals if "engine_pid" in e.place]
print(max(evals, key=lambda e: e.time_s).place["engine_pid"] if len(evals) >= least else "")
PYTHON
  )
  [ -n "$pid" ] && kill -9 "$pid"
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
    python3 - "$shape" "runs/shapes/$shape" <<'PYTHON'
import os
import sys
from transformers import AutoTokenizer
from tune.bench.packing import SHAPES, make_sizes

shape, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"])
make_sizes(SHAPES[shape] | {"vocab_size": len(tokenizer)}).save_pretrained(folder)
tokenizer.save_pretrained(folder)
PYTHON
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
  for name in $(searched); do
    python3 -m analysis.cost "$name" --rates runs/rates.jsonl | tee "runs/cost-$name.md"
  done
}

scaling() {
  python3 -m analysis.scaling $(searched) | tee runs/scaling.md
}

searched() {  # the sweeps that were made, the one on fewest GPUs first
  local name
  for name in qlora on-2-gpus on-4-gpus; do
    if [ -d "runs/$name" ]; then echo "$name"; fi
  done
}

on() {  # GPUS STAGE...: one after the other, on those alone, up to one that fails
  local stage
  for stage in "${@:2}"; do
    CUDA_VISIBLE_DEVICES=$1 bash "$script" "$stage" >"runs/$stage.log" 2>&1 ||
      { echo "$stage failed: runs/$stage.log"; return; }
  done
}

four() {  # the sweep's best setting is of all four; those on one and two run meanwhile
  mkdir -p runs
  export BEST_OF=on-4-gpus
  on 0,1,2,3 quad
  on 0 sweep & (on 1,2 pair; on 1 modules & on 2 usual & wait) & on 3 long best decoding score speed shapes &
  wait
  on 0 costs scaling
}

for stage in "$@"; do "$stage"; done
