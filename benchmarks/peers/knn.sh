#!/usr/bin/env bash
# Runs knn.py in the Python environment of input_pipeline.sh (requirements.txt, in $TEC_PEERS or ~/.cache/tec-peers), of
# which it needs torch alone; PYTHON names another Python that has it already.
set -eu

here=benchmarks/peers
. "$here/environment.sh"
"$PYTHON" "$here/knn.py" --ours=benchmarks/eval/evaluators "$@"
