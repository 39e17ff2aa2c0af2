#!/usr/bin/env bash
# Runs finetune.py in the Python environment of timm.sh, in $TEC_PEERS or ~/.cache/tec-peers.
set -eu

. benchmarks/peers/timm.sh
"$PYTHON" benchmarks/peers/finetune.py --ours=benchmarks/eval/finetune_step "$@"
