#!/usr/bin/env bash
# Every comparison with a peer, at its smallest: each ends well and prints its table. What the figures are is not asked.
# With the packages of //tools/consumers:consumers_test and the PyTorch that this build takes LibTorch from, in place of
# the environments that the comparisons install. TEC_REFERENCE, the folder of a clone of github.com/sail-sg/TEC, is what
# pretraining is compared with; without it that comparison is only seen to want one.
set -eu
work=$(mktemp -d)

requirements=benchmarks/peers/short_runs_requirements.txt
. tools/consumers/environment.sh
old_timm=$folder
requirements=tools/consumers/requirements.txt
. tools/consumers/environment.sh
trap 'rm -rf "$work"' EXIT  # The installing of packages has one of its own.
torch=$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")
export PYTHONPATH=$torch:$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1
# CUDA's libraries, 2 GB, are linked to and never called without a GPU: empty ones do where symbols are looked up
# lazily, as the second variable makes it.
export LD_LIBRARY_PATH=$PWD/tools/consumers/no_cuda TORCH_USE_RTLD_GLOBAL=1 CUDA_VISIBLE_DEVICES=
export PYTHON=$python

# PATTERN COMMAND [ARGUMENT...]: what it prints has a line that matches.
short_run() {
  local pattern=$1
  shift
  echo "=== $*"
  "$@" > "$work/out" 2>&1 || { cat "$work/out"; echo "$1: failed"; exit 1; }
  grep -E -- "$pattern" "$work/out" || { cat "$work/out"; echo "$1: no line with: $pattern"; exit 1; }
}

benchmarks/data/photographs --folder="$work" --count=32
short_run '^\| ours \| [0-9]+ \| 1\.00 \|$' benchmarks/peers/input_pipeline --folder="$work/photographs" --images=32 \
  --rounds=5
PYTHONPATH=$old_timm:$PYTHONPATH short_run '^\| RandAugment \|' benchmarks/peers/augment --rounds=5
short_run '^\| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \|$' benchmarks/peers/knn --rounds=3
# torch.compile compiles C++ that includes Python.h, which Debian has in python3-dev.
column=torch.compile
how=
if ! "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2> /dev/null ||
  ! command -v "${CXX:-g++}" > /dev/null; then
  echo "without torch.compile: there is no Python.h (python3-dev) or no C++ compiler"
  column=eager
  how=--no_compile
fi
for precision in float32 bfloat16; do
  short_run "^\\| timm [0-9.]+, $column \\| [0-9.]+ \\| [0-9.]+ \\|\$" \
    benchmarks/peers/finetune --model=tiny --rounds=1 --precision=$precision $how
  [ -n "${TEC_REFERENCE:-}" ] || continue
  short_run "^\\| reference, $column \\| [0-9.]+ \\| [0-9.]+ \\|\$" \
    benchmarks/peers/pretrain --reference="$TEC_REFERENCE" --model=tiny --rounds=1 --precision=$precision $how
done
if benchmarks/peers/pretrain --reference="$work" > "$work/out" 2>&1; then echo "pretrain: took any folder"; exit 1; fi
grep "^--reference=$work is no clone of github.com/sail-sg/TEC$" "$work/out"
