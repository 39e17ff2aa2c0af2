#!/usr/bin/env bash
# Runs kept_test.py with Pillow and NumPy, installed once into the user's cache folder. Arguments go to unittest.
set -eu

requirements=tools/consumers/pillow_requirements.txt
. tools/consumers/environment.sh
export PYTHONPATH=$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1
exec "$python" tools/consumers/kept_test.py "$@"
