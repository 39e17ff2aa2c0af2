#!/usr/bin/env bash
# The program on a picture, and what it says to bad use.
set -eu
program=tools/augment_preview/augment_preview
image=tec/testing/goldens/images/base420.jpg

. tools/testing/program_test.sh
preview() { run --output="$TEST_TMPDIR/sheet.png" "$@"; }

[ "$(preview --image="$image" --samples=3 --input_size=32)" = 0 ] || fail "exit code"
[ "$(grep -c "crop rows" "$TEST_TMPDIR/out")" = 3 ] || fail "not one line a tile"
[ "$(head -c 4 "$TEST_TMPDIR/sheet.png" | tail -c 3)" = PNG ] || fail "no contact sheet"
[ "$(preview --image="$image" --samples=1 --config=vit_b_mae_300ep --reprob=1 --steps="Rotate(-27), Invert")" = 0 ] ||
  fail "exit code with steps"
expect "Rotate(-27), Invert, erased rows"

[ "$(preview)" = 1 ] || fail "exit code without a picture"
expect "give --image=FILE"
[ "$(preview --image=/nowhere.jpg)" = 1 ] || fail "exit code without a file"
expect "/nowhere.jpg"
[ "$(preview --image="$image" --aa=augmix)" = 1 ] || fail "exit code of another policy"
expect "--aa"
