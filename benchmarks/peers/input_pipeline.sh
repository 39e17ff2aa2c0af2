#!/usr/bin/env bash
# Runs input_pipeline.py in a Python environment made of requirements.txt, on photographs made on the spot, in
# ImageNet's mix of sizes, qualities and subsamplings, unless a folder is given. The environment (several GB) is made
# once, in $TEC_PEERS or ~/.cache/tec-peers; PYTHON names another Python that has all of it already.
set -eu

here=benchmarks/peers
. "$here/environment.sh"

folder=""
for argument in "$@"; do
  case $argument in --folder=*) folder=${argument#--folder=} ;; esac
done
if [ -z "$folder" ]; then
  made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  benchmarks/data/photographs --folder="$made" --count=480
  set -- "$@" "--folder=$made/photographs" --pictures="made photographs in ImageNet's mix"
elif [ "${folder#/}" = "$folder" ]; then
  # Under `bazel run`, paths are those of the caller.
  set -- "$@" "--folder=${BUILD_WORKING_DIRECTORY:-.}/$folder"
fi
"$PYTHON" "$here/input_pipeline.py" --ours=benchmarks/data/pipeline "$@"
