#!/usr/bin/env bash
# Runs augment.py in a Python environment made of augment_requirements.txt, once, in $TEC_PEERS_AUGMENT or
# ~/.cache/tec-peers-augment; PYTHON names another Python that has all of it already.
set -eu

here=benchmarks/peers
environment=${TEC_PEERS_AUGMENT:-$HOME/.cache/tec-peers-augment}
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$environment/bin/python
  if [ ! -e "$environment/complete" ]; then
    python3 -m venv "$environment"
    # Without what timm asks for: one file of it is used, which needs these three only.
    "$PYTHON" -m pip install --no-deps -r "$here/augment_requirements.txt"
    touch "$environment/complete"
  fi
fi
"$PYTHON" "$here/augment.py" --ours=benchmarks/data/augment "$@"
