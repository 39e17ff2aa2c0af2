#!/usr/bin/env bash
# Runs pretrain.py in the Python environment of timm.sh, in $TEC_PEERS or ~/.cache/tec-peers.
set -eu

. benchmarks/peers/timm.sh
"$PYTHON" benchmarks/peers/pretrain.py --ours=benchmarks/train/step "$@"
