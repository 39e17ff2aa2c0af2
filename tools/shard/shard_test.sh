#!/usr/bin/env bash
# The program on ImageNet's layout, on what has no labels, and on what cannot be packed.
set -eu
program=tools/shard/shard
images=tec/testing/goldens/images
data=$TEST_TMPDIR/data
packed=$TEST_TMPDIR/packed

. tools/testing/program_test.sh

mkdir -p "$data/train/a" "$data/train/b" "$data/val/a" "$packed"
cp "$images/base420.jpg" "$images/palette.png" "$data/train/a"
cp "$images/s444.jpg" "$data/train/b"
cp "$images/base420.jpg" "$data/val/a/copy.jpg"
# Without --split the training pictures, not classes called train and val.
[ "$(run --data_path="$data" --output="$packed/train.tecpack")" = 0 ] || fail "exit code"
expect "train.tecpack: 3 training pictures of $data, in 2 classes"
[ "$(run --data_path="$data" --split=held_out --output="$packed/val.tecpack")" = 0 ] || fail "exit code of held_out"
expect "val.tecpack: 1 held-out pictures of $data, in 1 classes"
# Both together are a data set, with the pictures' bytes as they were.
tools/verify_dataset/verify_dataset "$packed" >"$TEST_TMPDIR/out" 2>&1 || fail "exit code of verify_dataset"
expect "training pictures: 3 in 2 classes, 1 (b) to 2 (a) each"
expect "held-out pictures: 1 in 1 classes"
expect "a/base420.jpg = a/copy.jpg (held-out)"
# A part that stands alone, and the folder as it is where that is wanted.
[ "$(run --data_path="$data/train" --output="$TEST_TMPDIR/part.tecpack")" = 0 ] || fail "exit code of a part"
cmp "$TEST_TMPDIR/part.tecpack" "$packed/train.tecpack" || fail "the part is packed otherwise"
[ "$(run --data_path="$data" --split=whole --output="$TEST_TMPDIR/whole.tecpack")" = 0 ] || fail "exit code of whole"
expect "whole.tecpack: 4 pictures of $data, in 2 classes"

# Folders at will.
cp "$images/base420.jpg" "$data/train"
[ "$(run --data_path="$data" --output="$TEST_TMPDIR/mixed.tecpack")" = 1 ] || fail "exit code of folders at will"
expect "holds pictures (base420.jpg) as well as folders of pictures (a)"
expect "--nolabels"
[ ! -e "$TEST_TMPDIR/mixed.tecpack" ] || fail "something was written"
[ "$(run --data_path="$data" --nolabels --output="$TEST_TMPDIR/mixed.tecpack")" = 0 ] || fail "exit code of --nolabels"
expect "mixed.tecpack: 4 training pictures of $data, without labels"

# Nothing is left out silently.
ln -s gone.jpg "$data/train/b/9.jpg"
[ "$(run --data_path="$data" --nolabels --output="$TEST_TMPDIR/bad.tecpack")" = 1 ] || fail "exit code with a bad file"
expect "b/9.jpg: "
[ ! -e "$TEST_TMPDIR/bad.tecpack" ] || fail "something was written"
mkdir "$TEST_TMPDIR/shards"
tar --dereference --format=ustar -cf "$TEST_TMPDIR/whole.tar" -C "$images" palette.png base420.jpg
size=$(stat -L -c %s "$images/palette.png")
head -c $(((size + 511) / 512 * 512 + 1024)) "$TEST_TMPDIR/whole.tar" >"$TEST_TMPDIR/shards/a.tar"
[ "$(run --data_path="$TEST_TMPDIR/shards" --output="$TEST_TMPDIR/shards.tecpack")" = 2 ] || fail "exit code of shards"
expect "without the pictures that are lost in broken archives:"
expect "a.tar: a size of"
[ -e "$TEST_TMPDIR/shards.tecpack" ] || fail "what could be read was not written"

# Two do not write one file. Another process holds its lock.
rm "$data/train/b/9.jpg"
code=$(flock "$TEST_TMPDIR/held.tecpack.lock" "$program" --data_path="$data" --nolabels \
  --output="$TEST_TMPDIR/held.tecpack" >"$TEST_TMPDIR/out" 2>&1 || echo $?)
[ "$code" = 1 ] || fail "exit code of a file that another one writes"
expect "another run writes into $TEST_TMPDIR/held.tecpack"

[ "$(run --data_path="$data")" = 1 ] || fail "exit code without an output"
expect "give --data_path=DATA and --output=FILE"
[ "$(run --data_path="$data" --output="$TEST_TMPDIR/x.tar")" = 1 ] || fail "exit code of another suffix"
expect "--output must end in .tecpack"
[ "$(run --data_path="$data" --output="$TEST_TMPDIR/x.tecpack" --split=val)" = 1 ] || fail "exit code of another split"
expect "--split must be train, held_out or whole, not val"
