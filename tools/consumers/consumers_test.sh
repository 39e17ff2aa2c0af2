#!/usr/bin/env bash
# Runs consumers_test.py with the packages of requirements.txt, which it installs once into the user's cache folder.
# TEC_CONSUMERS_PYTHON: a Python that has them already. Arguments go to unittest, e.g. a test's name.
set -eu

home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
requirements=tools/consumers/requirements.txt
python=${TEC_CONSUMERS_PYTHON:-}
if [ -z "$python" ]; then
  folder=${XDG_CACHE_HOME:-$home/.cache}/tec-consumers/$(sha256sum "$requirements" | cut -c1-16)
  python=$folder/bin/python
  if [ ! -e "$folder/ready" ]; then
    echo "installing $(grep -c == "$requirements") packages into $folder"
    rm -rf "$folder"
    python3 -m venv "$folder"
    # The file names every package there is: nothing is resolved, nothing else comes along.
    "$folder/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary=:all: -r "$requirements"
    touch "$folder/ready"
  fi
fi
# Nothing is downloaded by name: every model is built from its configuration.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=2
exec "$python" tools/consumers/consumers_test.py "$@"
