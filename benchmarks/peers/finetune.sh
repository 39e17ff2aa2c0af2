#!/usr/bin/env bash
# Runs finetune.py in the Python environment of input_pipeline.sh (requirements.txt, in $TEC_PEERS or
# ~/.cache/tec-peers), with timm (finetune_requirements.txt) added to it once; PYTHON names another Python that has
# torch and timm already.
set -eu

here=benchmarks/peers
environment=${TEC_PEERS:-$HOME/.cache/tec-peers}
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$environment/bin/python
  if [ ! -e "$environment/complete" ]; then
    python3 -m venv "$environment"
    "$PYTHON" -m pip install -r "$here/requirements.txt"
    touch "$environment/complete"
  fi
  if [ ! -e "$environment/complete-finetune" ]; then
    "$PYTHON" -m pip install --no-deps -r "$here/finetune_requirements.txt"
    touch "$environment/complete-finetune"
  fi
fi
"$PYTHON" "$here/finetune.py" --ours=benchmarks/eval/finetune_step "$@"
