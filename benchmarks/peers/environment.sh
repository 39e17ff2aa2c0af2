# Sourced: sets PYTHON to the Python of requirements.txt, installed once in $TEC_PEERS or ~/.cache/tec-peers (several
# GB), unless the caller names another one. Sets `environment` to the folder where it did so, empty where it did not.
environment=
if [ -z "${PYTHON:-}" ]; then
  environment=${TEC_PEERS:-$HOME/.cache/tec-peers}
  PYTHON=$environment/bin/python
  if [ ! -e "$environment/complete" ]; then
    python3 -m venv "$environment"
    "$PYTHON" -m pip install -r benchmarks/peers/requirements.txt
    touch "$environment/complete"
  fi
fi
