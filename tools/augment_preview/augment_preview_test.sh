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

# Pictures as people keep them: what only Pillow's rules let pass, and what is none.
for name in no_end_zeros.jpg tables_first.jpg scans1.jpg cut12.png window9.png palette_twice.png offset_zero.bmp; do
  [ "$(preview --image="data/testing/formats/$name" --samples=1 --input_size=32)" = 0 ] || fail "exit code of $name"
done
# CONTENT MESSAGE: what a file is, whatever it is called.
is_no_picture() {
  printf "$1" >"$TEST_TMPDIR/x.jpg"
  [ "$(preview --image="$TEST_TMPDIR/x.jpg")" = 1 ] || fail "exit code of $2"
  expect "$TEST_TMPDIR/x.jpg: "
  expect "$2"
}
is_no_picture 'version https://git-lfs.github.com/spec/v1\n' "Git LFS"
is_no_picture '<!DOCTYPE html><html>' "HTML"
is_no_picture '\000\005\026\007\000\002\000\000Mac OS X' "AppleDouble"
is_no_picture '\000\000\000\034ftypavif\000\000\000\000' "AVIF"
mkfifo "$TEST_TMPDIR/fifo.jpg"
[ "$(preview --image="$TEST_TMPDIR/fifo.jpg")" = 1 ] || fail "exit code of a FIFO"
expect "is a FIFO, not a regular file"
odd=$TEST_TMPDIR/$(printf 'a\033[31m\351.jpg')
[ "$(preview --image="$odd")" = 1 ] || fail "exit code of a name with control characters"
expect 'a\x1b[31m\xe9.jpg'
