#!/usr/bin/env bash
# The same sweeps on 1, 2, 4 and 8 GPUs of one host, in the working folder's runs/:
#   MODEL=FOLDER_OR_ID CORPUS=FOLDER_OR_NAME analysis/results/hosts/run.sh [STAGE...]
# fixed   the same 64 random points of the space qlora, each trained to its end
# search  256 trials of it that the sampler proposes, stopped as by default
# kill    `fixed` again; an engine is killed with SIGKILL on the way
# seven   llama-7b's shape with random weights for ten minutes, then paused
# table   what they come to, beside the simulator's prediction
# Without a stage: all of them. GPUS="1 2": on these numbers of GPUs alone. CUDA_VISIBLE_DEVICES=2,3:
# with these alone. Without a GPU, engines on the CPU stand for GPUs (PROFILE=tiny MODEL=tiny
# CORPUS=cambridge).
set -euo pipefail

here=$(dirname "$(realpath "$0")")
there=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, || true)}
n_gpus=$(tr ',' '\n' <<<"$there" | grep -c . || true)
profile=(--profile "${PROFILE:-lab}")
base=(--set "base_model=${MODEL:?}" --set "corpus=${CORPUS:?}" --pack "${PACK:-8}")
export NCCL_NVLS_ENABLE=0

on_each() {  # WORK: on each number of GPUs that this host has
  local n
  for n in ${GPUS:-1 2 4 8}; do
    if ((n_gpus == 0)); then
      RAY_OVERRIDE_RESOURCES="{\"CPU\": 8, \"GPU\": $n}" "$1" "$n"
    elif ((n <= n_gpus)); then
      CUDA_VISIBLE_DEVICES=$(cut -d, -f1-"$n" <<<"$there") "$1" "$n"
    else
      echo "$1 on $n GPUs: left out, there are $n_gpus"
    fi
  done
}

run_fixed() {  # NAME
  DRAW=0-$((${POINTS:-64} - 1)) python3 -m tune.run --space "$here/../curves/points.py" --name "$1" \
    "${profile[@]}" "${base[@]}" --trials "${POINTS:-64}" --asha off --confirm 0 --no-baseline \
    --rung-metric loss --train-turns "${TURNS:-12000}" --rungs "${RUNGS:-4000}" \
    --eval-dialogues "${DIALOGUES:-64,400}"
}

fixed_on() { run_fixed "fixed-$1"; }

search_on() {
  python3 -m tune.run --space qlora --name "search-$1" "${profile[@]}" "${base[@]}" \
    --set quantisation=nf4 --trials "${TRIALS:-256}" --confirm 0 --no-baseline \
    --train-turns "${SEARCH_TURNS:-24000}"
}

kill_on() {
  run_fixed "kill-$1" &
  local driver=$!
  until ! kill -0 $driver 2>/dev/null || kill_an_engine "kill-$1" "${KILL_AFTER:-20}"; do sleep 1; done
  wait $driver
}

kill_an_engine() {  # NAME EVALUATIONS: the one that made the latest, once there are so many
  local pid
  pid=$(python3 - "$@" <<'PYTHON'
import sys
from pathlib import Path
from analysis.machines import all_evals
from analysis.records import find_sweep, read_sweep

name, least = sys.argv[1], int(sys.argv[2])
is_there = Path("runs", name, "sweep.json").is_file()
evals = all_evals(read_sweep(find_sweep(name))) if is_there else []
print(max(evals, key=lambda e: e.time_s).place["engine_pid"] if len(evals) >= least else "")
PYTHON
  )
  [ -n "$pid" ] && kill -9 "$pid"
}

seven_on() {
  local shape=runs/shapes/llama-7b
  python3 "$here/../shape.py" llama-7b "$shape"
  timeout --foreground -s TERM "${SEVEN_S:-600}" python3 -m tune.run --space lora_modules \
    --name "seven-$1" "${profile[@]}" --set "base_model=$shape" --set "corpus=$CORPUS" \
    --set initialisation=random --trials $((16 * $1)) --asha off --confirm 0 --no-baseline \
    --rung-metric loss --train-turns 30000 --rungs 1000,2000,4000,6000,8000,12000 \
    --eval-dialogues 32,32,32,32,32,32,64 || [ $? = 124 ]
}

(($#)) || set -- fixed search kill seven table
for stage in "$@"; do
  if [ "$stage" = table ]; then
    python3 "$here/table.py" | tee runs/table.md
  else
    on_each "${stage}_on"
  fi
done
