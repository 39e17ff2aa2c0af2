#!/bin/sh
# VERSION PROGRAM...: each program says the version, whether or not it would know the flag itself.
set -eu
version=$1
shift
for program in "$@"; do
  expected="$(basename "$program") (TEC) $version"
  got=$("$program" --version)
  [ "$got" = "$expected" ] || { echo "$program --version: '$got', expected '$expected'"; exit 1; }
done
echo "$# programs are version $version"
[ $# -gt 0 ]
