#!/usr/bin/env bash
# VENV FOLDER VERSION: runs the wheel that is installed in VENV, with the PyTorch of FOLDER/packages, by
# FOLDER/short.textproto; FOLDER/run is what it trained.
set -eu
venv=$1 folder=$2 version=$3
# float32, one thread: the same bits everywhere.
flags="pretrain --config=short.textproto --precision=float32 --device=cpu --threads=1 --output_dir=run"

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in torch nvidia torch-2.11.0.dist-info; do ln -sfn "$folder/packages/$name" "$packages/$name"; done
[ "$("$venv/bin/tec" --version)" = "tec (TEC) $version" ]
"$venv/bin/python" -c 'import sys, tec; sys.exit(tec.__version__ != sys.argv[1])' "$version"
cd "$folder"
# shellcheck disable=SC2086  # one word a flag
"$venv/bin/tec" $flags > log 2>&1 || { cat log; exit 1; }
tail -n 6 log
rm "$packages/torch-2.11.0.dist-info"
if "$venv/bin/tec" --version 2> log; then echo "without PyTorch it starts" >&2; exit 1; fi
grep -q "pip install 'torch==2.11" log
