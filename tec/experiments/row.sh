#!/usr/bin/env bash
# ROW.STEP [FLAG...]: the step's program with the row's settings. Relative paths stay as the program takes them.
name=$(basename "$0")
row=${name%.*}
bin=$(dirname "$0")/../..
case ${name##*.} in
  pretrain) exec "$bin/tec/pretrain" --config="$row" "$@" ;;
  finetune) exec "$bin/eval/finetune/finetune" --config="$row" "$@" ;;
  reproduce) exec "$bin/eval/reproduce/reproduce" --row="$row" "$@" ;;
  *)
    echo "$0: no target of //tec/experiments" >&2
    exit 1
    ;;
esac
