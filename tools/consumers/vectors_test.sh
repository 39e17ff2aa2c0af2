#!/usr/bin/env bash
# Runs vectors_test.py with TensorBoard, pandas and pyarrow, installed once into the user's cache folder. Arguments
# go to unittest.
set -eu

requirements=tools/consumers/vectors_requirements.txt
. tools/consumers/environment.sh
export PYTHONPATH=$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1 PYTHON=$python
exec "$python" tools/consumers/vectors_test.py "$@"
