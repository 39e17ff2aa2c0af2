#!/usr/bin/env bash
# Runs knn.py in the Python environment of input_pipeline.sh (requirements.txt, in $TEC_PEERS or ~/.cache/tec-peers), of
# which it needs torch alone; PYTHON names another Python that has it already.
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
fi
"$PYTHON" "$here/knn.py" --ours=benchmarks/eval/evaluators "$@"
