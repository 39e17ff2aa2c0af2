#!/usr/bin/env bash
# ARCHIVE VERSION PRETRAIN: the archive's program runs from any folder, with nothing of the build around it, and trains
# to the bytes of the checkpoint that the build's own PRETRAIN writes.
set -eu
# The programs take relative paths from where the user stands, which is here.
unset BUILD_WORKING_DIRECTORY
archive=$(readlink -f "$1") version=$2 pretrain=$(readlink -f "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "dist_test: $*" >&2
  exit 1
}

mkdir "$work/some where"
tar -xzf "$archive" -C "$work/some where"
top="$work/some where/tec-$version"
for path in bin/tec lib/libtorch_cpu.so lib/libglog.so.1 licences/LICENSE licences/torch-2.11.0.LICENSE README.md; do
  [ -s "$top/$path" ] || fail "$path is not in the archive"
done
if grep -aoE "($HOME|/\.cache|/execroot|_solib)/[ -~]*" "$top/bin/tec"; then
  fail "these paths are the build machine's"
fi
got=$(cd / && env -i "$top/bin/tec" --version)
[ "$got" = "tec (TEC) $version" ] || fail "tec --version says '$got'"

cp package/short.textproto "$work/"
flags="--config=../short.textproto --precision=float32 --device=cpu --threads=1 --output_dir=run"
mkdir "$work/here"
cd "$work/here"
# shellcheck disable=SC2086  # one word a flag
run() {
  "$@" $flags > log 2>&1 || { cat log; fail "$1"; }
  sha256sum < run/tec/checkpoint-0.pth
  rm -rf run
}
expected=$(run "$pretrain")
got=$(run env -i "$top/bin/tec" pretrain)
[ "$got" = "$expected" ] || fail "the checkpoint differs from the build's"
echo "dist_test: the same checkpoint, $got"
