#!/usr/bin/env bash
# Makes what this folder records, stage by stage, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/smollm2/run.sh STAGE...
# sweep    64 settings of the space qlora, ASHA's promotion of the best third
# modules  which layers: five selections, three seeds each, equal training, the rest as the sweep's best
# best     the sweep's best setting on all of train, three seeds, then each once on test
# speed    iterations a second, alone and packed
# scaling  the sweep of one rung on four GPUs, then on one and on two at the same time; on two an
#          engine is killed
# usual    what the usual ways do in a second, and what the answer would have cost
set -euo pipefail

profile=${PROFILE:-lab}
base=(--profile "$profile" --set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}")
[ "$profile" = lab ] && base+=(--set quantisation=nf4)
pack=${PACK:-16}

sweep() {
  python3 -m tune.run --space qlora "${base[@]}" --name qlora --pack "$pack" --trials "${TRIALS:-64}" \
    --asha promote --train-turns "${TURNS:-54000}" --rungs "${RUNGS:-2000,6000,18000}" \
    --eval-dialogues "${DIALOGUES:-100,150,250,500}" ${SWEEP_FLAGS:-}
}

best_flags() {  # the searched fields of the sweep's best trial, as flags; without those named
  python3 - "$@" <<'PYTHON'
import sys
from analysis.ranking import rank_trials
from analysis.records import find_sweep, read_sweep

best = next(e.trial for e in rank_trials(read_sweep(find_sweep("qlora"))) if not e.trial.is_base)
print(*(f"--set {name}={value}" for name, value in best.params.items() if name not in sys.argv[1:]))
PYTHON
}

modules() {
  python3 -m tune.run --space lora_modules "${base[@]}" $(best_flags lora_modules) --name modules \
    --pack "$pack" --trials 15 --seeds 3 --asha off --train-turns "${MODULE_TURNS:-20000}" \
    --rungs "${MODULE_RUNGS:-7000}" --eval-dialogues "${MODULE_DIALOGUES:-100,500}"
}

best() {
  python3 -m tune.run --space lora_modules "${base[@]}" $(best_flags) --name best --pack 3 \
    --trials 3 --seeds 3 --asha off --train-turns "${BEST_TURNS:-170000}" \
    --rungs "${BEST_RUNGS:-57000}" --eval-dialogues "${BEST_DIALOGUES:-200,1000}"
  for trial in 0000 0001 0002; do
    python3 -m tune.export best --trial $trial --out "runs/best/export/$trial" \
      --base-model-id "${MODEL_ID:-HuggingFaceTB/SmolLM2-135M-Instruct}"
    python3 -m tune.evaluate --adapter "runs/best/export/$trial" --base-model "$MODEL" \
      --corpus "$CORPUS" --split test --json "runs/best/test-$trial.json" &
  done
  wait
}

speed() {
  for slots in 1 8; do
    python3 -m tune.bench "${base[@]}" --pack $slots --dialogues 100 --json | tee -a runs/speed.jsonl
  done
}

usual() {
  local checkpoint
  checkpoint=$(ls -d runs/best/checkpoints/0000/* | sort -V | tail -1)
  python3 -m trainable.usual_ways --checkpoint "$checkpoint" | tee runs/rates.jsonl
  python3 -m analysis.cost qlora --rates runs/rates.jsonl | tee runs/cost.md
}

scaled_sweep() {  # NAME GPUS
  CUDA_VISIBLE_DEVICES=$2 python3 -m tune.run --space qlora "${base[@]}" --name "$1" --pack 8 \
    --trials 64 --asha promote --train-turns 20000 --rungs 6700 --eval-dialogues 100,300
}

scaling() {
  scaled_sweep on-4-gpus 0,1,2,3
  scaled_sweep on-1-gpu 0 &
  scaled_sweep on-2-gpus 1,2 &
  sleep 90
  kill -9 "$(python3 - <<'PYTHON'
from analysis.records import find_sweep, read_sweep

evals = [e for t in read_sweep(find_sweep("on-2-gpus")).trials for e in t.evals]
print(evals[-1].place["engine_pid"])
PYTHON
  )"
  wait
}

for stage in "$@"; do "$stage"; done
