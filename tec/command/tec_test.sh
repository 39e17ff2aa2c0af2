#!/usr/bin/env bash
# VERSION TEC SUBCOMMAND=PROGRAM...: each subcommand has the flags, defaults and texts of the program by itself, though
# many names stand for other flags in others, and refuses what that refuses.
set -u
version=$1 tec=$2
shift 2
failures=0

same() {  # PROGRAM SUBCOMMAND ARGUMENT...
  local program=$1
  shift
  local alone together alone_code together_code
  alone=$("$program" "${@:2}" 2>&1)
  alone_code=$?
  together=$("$tec" "$@" 2>&1)
  together_code=$?
  if [ "$alone_code" != "$together_code" ] || [ "$alone" != "$together" ] || [ -z "$alone" ]; then
    echo "tec $*: exit code $together_code, not $alone_code; what it prints differs from the program's so:"
    diff <(echo "$alone") <(echo "$together")
    failures=$((failures + 1))
  fi
}

for pair in "$@"; do
  same "${pair#*=}" "${pair%%=*}" --help
  same "${pair#*=}" "${pair%%=*}" --no_such_flag=1
done
same "${1#*=}" "${1%%=*}" --epochs=many

help=$("$tec" --help) || failures=$((failures + 1))
for pair in "$@"; do
  grep -q "^  ${pair%%=*} " <<< "$help" || { echo "tec --help does not name ${pair%%=*}"; failures=$((failures + 1)); }
done
[ "$("$tec" --version)" = "tec (TEC) $version" ] || { echo "tec --version"; failures=$((failures + 1)); }
"$tec" no-such-program 2> /dev/null
[ $? = 1 ] || { echo "tec no-such-program: exit code is not 1"; failures=$((failures + 1)); }
"$tec" > /dev/null 2>&1
[ $? = 1 ] || { echo "tec alone: exit code is not 1"; failures=$((failures + 1)); }

echo "$# subcommands, $failures failures"
[ $# -gt 0 ] && [ "$failures" = 0 ]
