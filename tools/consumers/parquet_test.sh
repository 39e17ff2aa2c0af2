#!/usr/bin/env bash
# Runs parquet_test.py with pyarrow, installed once into the user's cache folder. Arguments go to unittest.
set -eu

requirements=tools/consumers/parquet_requirements.txt
. tools/consumers/environment.sh
export PYTHONPATH=$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1 PYTHON=$python
exec "$python" tools/consumers/parquet_test.py "$@"
