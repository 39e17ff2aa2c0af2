#!/usr/bin/env bash
# Runs report_cost.py, which needs Python alone.
exec python3 benchmarks/eval/report_cost.py "$@"
