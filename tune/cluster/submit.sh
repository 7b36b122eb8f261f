#!/bin/bash
# A sweep as a job on a Ray cluster that runs already:
#
#     RAY_API_SERVER_ADDRESS=http://head:8265 ./submit.sh --space lora_modules --name big \
#         --storage s3://bucket/sweeps
#
# With SWEEP_CODE=FOLDER the checkout there is sent along (its .gitignore is heeded); without, the
# package must be installed on the cluster. What stands after the script is given to
# `python -m tune.run`; `--resume big` goes on after the job was stopped or its head was lost.
set -euo pipefail

ray job submit ${SWEEP_CODE:+--working-dir "$SWEEP_CODE"} -- python -m tune.run "$@"
