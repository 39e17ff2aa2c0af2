#!/usr/bin/env bash
# The program on two folders of test images, some of them bad, and on what is none.
set -eu
program=tools/verify_dataset/verify_dataset
images=tec/testing/goldens/images
data=$TEST_TMPDIR/data

. tools/testing/program_test.sh

mkdir -p "$data/train/a" "$data/train/b" "$data/val/a"
cp "$images/base420.jpg" "$images/palette.png" "$data/train/a"
cp "$images/s444.jpg" "$data/train/b"
cp "$images/base420.jpg" "$data/val/a/copy.jpg"
[ "$(run "$data" --stats --contact_sheet="$TEST_TMPDIR/sheet.png" --samples=3)" = 0 ] || fail "exit code"
expect "training pictures: 3 in 2 classes, 1 (b) to 2 (a) each"
expect "formats: JPEG 2, PNG 1"
expect "held-out pictures: 1 in 1 classes"
expect "for a run: --channels=3 --mean=0."
expect "1 files are copies of another one; 1 pictures are both training and held-out"
expect "a/base420.jpg = a/copy.jpg (held-out)"
[ "$(head -c 4 "$TEST_TMPDIR/sheet.png" | tail -c 3)" = PNG ] || fail "no contact sheet"

# The flag changes nothing that is seen.
run "$data" --stats >/dev/null && cp "$TEST_TMPDIR/out" "$TEST_TMPDIR/fast"
[ "$(run "$data" --stats --fast_jpeg=false)" = 0 ] || fail "exit code with libjpeg-turbo alone"
cmp "$TEST_TMPDIR/out" "$TEST_TMPDIR/fast" || fail "--fast_jpeg shows"

# The data set may come after flags; there can be one only.
[ "$(run --most_lines 5 --stats "$data" --nostats)" = 0 ] || fail "exit code with the folder after flags"
expect "training pictures: 3"
[ "$(run "$data" --stats "$data")" = 1 ] || fail "exit code with two folders"
expect "stray argument"

[ "$(run "$data" --stats --channels=1)" = 0 ] || fail "exit code with one channel"
grep -qE -- '--channels=1 --mean=0\.[0-9]{4} --std=0\.[0-9]{4}$' "$TEST_TMPDIR/out" ||
  fail "no statistics of one channel"
[ "$(run "$data" --channels=4)" = 1 ] || fail "exit code with four channels"
expect "other numbers are those of PNG and TIFF files"
[ "$(run "$data" --channels=4 --contact_sheet="$TEST_TMPDIR/sheet.png")" = 1 ] || fail "a sheet of four channels"
expect "--contact_sheet shows RGB pictures"

cp "$images/truncated.jpg" "$images/not_an_image.jpg" "$data/train/b"
[ "$(run --data_path="$data" --most_lines=1)" = 1 ] || fail "exit code with bad pictures"
expect "bad: 2"
expect "b/not_an_image.jpg: not an image"
expect "... and 1 more"

[ "$(run "$TEST_TMPDIR/nowhere")" = 1 ] || fail "exit code without a folder"
expect "nowhere"

# Unless finetuning's view is asked for, it is pretraining's: three tiles of 224 pixels a picture, and gaps of 4.
[ "$(run "$images/base420.jpg" --view=both)" = 1 ] || fail "an unknown view"
expect "known are pretraining and finetuning"
echo "$PWD/$images/base420.jpg" >"$TEST_TMPDIR/one"
[ "$(run "$TEST_TMPDIR/one" --contact_sheet="$TEST_TMPDIR/sheet.png")" = 0 ] || fail "exit code of one picture"
expect "1 samples, each the picture, its crop, and what pretraining's mask leaves of the crop"
width=$(od -An -tu1 -j18 -N2 "$TEST_TMPDIR/sheet.png" | awk '{print 256 * $1 + $2}')
[ "$width" = $((3 * 228 + 4)) ] || [ "$width" = $((9 * 228 + 4)) ] || fail "the sheet is $width pixels wide"

# The sheet of finetuning shows erasing too: the tile of a picture whose number in the data set is one that is erased is
# that of augment_preview. What comes before it in the list is not there.
number=0
rm -f "$TEST_TMPDIR/list"
while true; do
  tools/augment_preview/augment_preview --image="$images/base420.jpg" --seed=0 --index=$number --samples=1 --columns=8 \
    --output="$TEST_TMPDIR/tile.png" >"$TEST_TMPDIR/out"
  grep -q "erased rows" "$TEST_TMPDIR/out" && break
  echo "gone.jpg" >>"$TEST_TMPDIR/list"
  number=$((number + 1))
done
cp "$images/base420.jpg" "$TEST_TMPDIR/picture.jpg"
echo "picture.jpg" >>"$TEST_TMPDIR/list"
run "$TEST_TMPDIR/list" --view=finetuning --contact_sheet="$TEST_TMPDIR/sheet.png" >/dev/null
cmp "$TEST_TMPDIR/sheet.png" "$TEST_TMPDIR/tile.png" || fail "the sheet lacks the erasing of picture $number"

# Folders at will are good for pretraining.
mixed=$TEST_TMPDIR/mixed
mkdir -p "$mixed/a/deep"
cp "$images/base420.jpg" "$mixed"
cp "$images/palette.png" "$mixed/a/deep"
echo text >"$mixed/a/notes.txt"
[ "$(run "$mixed")" = 0 ] || fail "exit code of folders at will"
expect "no labels, good for pretraining alone: $mixed holds pictures (base420.jpg) as well as folders of pictures (a)"
expect "pictures: 2, without labels"
expect "left out: 1 file, not taken for pictures by their names: .txt 1"

# A broken shard is bad, though every picture before the defect is good.
mkdir "$TEST_TMPDIR/shards"
tar --dereference --format=ustar -cf "$TEST_TMPDIR/whole.tar" -C "$images" palette.png base420.jpg
size=$(stat -L -c %s "$images/palette.png")
head -c $(((size + 511) / 512 * 512 + 1024)) "$TEST_TMPDIR/whole.tar" >"$TEST_TMPDIR/shards/a.tar"
[ "$(run "$TEST_TMPDIR/shards")" = 1 ] || fail "exit code with a broken shard"
expect "pictures: 1, without labels"
expect "bad: 1"
expect "broken archive, of which pictures are lost: a.tar: a size of"
