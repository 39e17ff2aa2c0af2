#!/usr/bin/env bash
# Runs consumers_test.py with the packages of requirements.txt, which it installs once into the user's cache folder, and
# with PyTorch from the wheel that this build takes LibTorch from. Arguments go to unittest, e.g. a test's name.
set -eu

requirements=tools/consumers/requirements.txt
. tools/consumers/environment.sh
torch=$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")
export PYTHONPATH=$torch:$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1
# CUDA's libraries, 2 GB, are linked to and never called without a GPU: empty ones do.
export LD_LIBRARY_PATH=$PWD/tools/consumers/no_cuda CUDA_VISIBLE_DEVICES=
# Nothing is downloaded by name: every model is built from its configuration.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=2
exec "$python" tools/consumers/consumers_test.py "$@"
