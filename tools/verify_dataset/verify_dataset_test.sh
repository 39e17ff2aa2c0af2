#!/usr/bin/env bash
# The program on two folders of test images, some of them bad, and on what is none.
set -eu
program=tools/verify_dataset/verify_dataset
images=tec/testing/goldens/images
data=$TEST_TMPDIR/data

fail() {
  echo "$1"
  cat "$TEST_TMPDIR/out"
  exit 1
}
run() {
  local code=0
  "$program" "$@" >"$TEST_TMPDIR/out" 2>&1 || code=$?
  echo "$code"
}
expect() {
  grep -qF -- "$1" "$TEST_TMPDIR/out" || fail "no line with: $1"
}

mkdir -p "$data/train/a" "$data/train/b" "$data/val/a"
cp "$images/base420.jpg" "$images/palette.png" "$data/train/a"
cp "$images/s444.jpg" "$data/train/b"
cp "$images/base420.jpg" "$data/val/a/copy.jpg"
[ "$(run "$data" --stats --contact_sheet="$TEST_TMPDIR/sheet.png" --samples=3)" = 0 ] || fail "exit code"
expect "training pictures: 3 in 2 classes, 1 (b) to 2 (a) each"
expect "formats: JPEG 2, PNG 1"
expect "held-out pictures: 1 in 1 classes"
expect "data { mean: [0."
expect "1 files are copies of another one; 1 pictures are both training and held-out"
expect "a/base420.jpg = a/copy.jpg (held-out)"
[ "$(head -c 4 "$TEST_TMPDIR/sheet.png" | tail -c 3)" = PNG ] || fail "no contact sheet"

cp "$images/truncated.jpg" "$images/not_an_image.jpg" "$data/train/b"
[ "$(run --data_path="$data" --most_lines=1)" = 1 ] || fail "exit code with bad pictures"
expect "bad: 2"
expect "b/not_an_image.jpg: not an image"
expect "... and 1 more"

[ "$(run "$TEST_TMPDIR/nowhere")" = 1 ] || fail "exit code without a folder"
expect "nowhere"
