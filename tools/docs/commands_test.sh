#!/usr/bin/env bash
# Runs commands_test.py; arguments go to unittest.
exec python3 -m tools.docs.commands_test "$@"
