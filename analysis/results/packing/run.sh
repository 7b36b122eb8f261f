#!/usr/bin/env bash
# Prints rows as this folder holds them, one a line:  COMMIT=$(git rev-parse --short HEAD) run.sh SHAPE...
# A shape's rows take 2 to 4 minutes; with several GPUs run several at once, each under its own
# CUDA_VISIBLE_DEVICES.
set -euo pipefail

rows() {  # SHAPE WORK SLOTS...
  python3 -m tune.bench.packing --shape "$1" --work "$2" --slots "${@:3}" --budget-s 1.5 |
    python3 -c '
import json, sys, torch
about = {"commit": sys.argv[1], "gpu": torch.cuda.get_device_name()}
for line in sys.stdin:
    if line.startswith("{"):
        print(json.dumps(about | json.loads(line)), flush=True)
' "${COMMIT:?}"
}

for shape in "$@"; do
  case $shape in
    llama-7b)     rows $shape 1x512 1 4 8 16;     rows $shape 4x256 1 4 8 ;;
    pythia-1.4b)  rows $shape 1x512 1 4 8 16 32;  rows $shape 4x256 1 4 8 16 32 ;;
    smollm2-135m) rows $shape 8x512 1 4 8 16 32;  rows $shape 1x512 1 4 8 16 32; rows $shape 4x256 1 4 8 16 32 ;;
    pythia-70m)   rows $shape 4x256 1 4 8 16 32;  rows $shape 1x512 1 4 8 16 32 ;;
  esac
done
