#!/usr/bin/env bash
# A pinned version that no archive has any more, tried with Bazel itself in a copy of the tree and with an output folder
# of its own: the next of the list is built with, then one of the same upstream version, and nothing else.
#
#   ./bazelw run //third_party:changed_pin_test
#
# It fetches and takes a minute or two.
set -eu

tree=$(dirname "$(realpath bazelw)")
work=$(mktemp -d)
copy=$work/tree
bazel() { (cd "$copy" && ./bazelw --output_user_root="$work/output" --host_jvm_args=-Xmx600m "$@" >"$work/log" 2>&1); }
finish() {
  [ ! -e "$copy/bazelw" ] || bazel shutdown || true
  chmod -R u+w "$work" && rm -rf "$work"
}
trap finish EXIT
fail() {
  echo "FAILED: $*; Bazel said:" >&2
  tail -n 30 "$work/log" >&2
  exit 1
}

mkdir "$copy"
tar -C "$tree" --exclude=./.git --exclude='./bazel-*' -cf - . | tar -C "$copy" -xf -
pins=$copy/third_party/zlib/packages.bzl
real=$(sed -n 's/^ *"\(1:[^ ]*\) [0-9a-f]\{64\}",$/\1/p' "$pins" | head -n 1)
[ -n "$real" ] || fail "no pin of zlib1g-dev in $pins"
upstream=${real%-*}
# $1: a version; it comes before the others.
pin() { sed -i "s/^ *\"zlib1g-dev\": \[/&\n        \"$1 $(printf '0%.0s' $(seq 64))\",/" "$pins"; }

pin "$upstream-99~gone"
bazel build --config=strict //data/testing:make_zip || fail "the next pin of the list was not taken"

sed -i "/\"$real /d" "$pins"
bazel build //data/testing:make_zip || fail "a package of the same upstream version was not taken"
grep -q "no archive has Debian's zlib1g-dev $upstream-99~gone any more; .*the same upstream version, takes its place" \
  "$work/log" || fail "nothing was said of the package that took its place"
! bazel build --config=strict //data/testing:make_zip || fail "--config=strict took an unknown package"

sed -i "s/$upstream-99~gone/1:0.1-1/" "$pins"
! bazel build //data/testing:make_zip || fail "another upstream version was taken"
grep -q 'zlib1g-dev: pinned 1:0.1-1; there is ' "$work/log" || fail "what there is was not said"
echo "PASSED"
