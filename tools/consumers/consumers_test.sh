#!/usr/bin/env bash
# Runs consumers_test.py with the packages of requirements.txt, which it installs once into the user's cache folder, and
# with PyTorch from the wheel that this build takes LibTorch from. Arguments go to unittest, e.g. a test's name.
set -eu

python=$(command -v python3.11) && "$python" -c 'import pip' 2>/dev/null || {
  echo "consumers_test: needs Python 3.11, which PyTorch's wheel is for, with pip. Debian 12 has them:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends python3 python3-pip" >&2
  exit 1
}
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
requirements=tools/consumers/requirements.txt
folder=${XDG_CACHE_HOME:-$home/.cache}/tec-consumers/$(sha256sum "$requirements" | cut -c1-16)
if [ ! -e "$folder" ]; then
  echo "installing $(grep -c == "$requirements") packages into $folder"
  # Whole or not at all: what a stopped installation leaves is not taken for one. Every package is named in the file, so
  # nothing is resolved, nothing else comes along.
  mkdir -p "$(dirname "$folder")"
  unfinished=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  "$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes --target="$unfinished" -r "$requirements"
  mv -T "$unfinished" "$folder"
  trap - EXIT
fi
torch=$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")
export PYTHONPATH=$torch:$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1
# CUDA's libraries, 2 GB, are linked to and never called without a GPU: empty ones do.
export LD_LIBRARY_PATH=$PWD/tools/consumers/no_cuda CUDA_VISIBLE_DEVICES=
# Nothing is downloaded by name: every model is built from its configuration.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=2
exec "$python" tools/consumers/consumers_test.py "$@"
