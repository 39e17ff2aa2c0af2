#!/usr/bin/env bash
# Runs finetune.py in the Python environment of input_pipeline.sh (requirements.txt, in $TEC_PEERS or
# ~/.cache/tec-peers), with timm (finetune_requirements.txt) added to it once; PYTHON names another Python that has
# torch and timm already.
set -eu

here=benchmarks/peers
. "$here/environment.sh"
if [ -n "$environment" ] && [ ! -e "$environment/complete-finetune" ]; then
  "$PYTHON" -m pip install --no-deps -r "$here/finetune_requirements.txt"
  touch "$environment/complete-finetune"
fi
"$PYTHON" "$here/finetune.py" --ours=benchmarks/eval/finetune_step "$@"
