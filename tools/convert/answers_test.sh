#!/usr/bin/env bash
# What the weight tools answer to what people type first: one name for weights, examples in the help, and the way on
# where another program is meant.
set -u
. tools/testing/program_test.sh

weights=tec/testing/goldens/weight_convert/pretrain.pth

# Weights are --checkpoint everywhere, and may go on under the names that the programs had.
program=tools/convert/convert
for flag in checkpoint resume; do
  [ "$(run --$flag=$weights --output_dir="$TEST_TMPDIR/$flag" --heads=2)" = 0 ] || fail "convert --$flag"
done
cmp "$TEST_TMPDIR/checkpoint/tec_checkpoint.pth" "$TEST_TMPDIR/resume/tec_checkpoint.pth" || fail "other weights"
[ "$(run --checkpoint=a --resume=b)" = 1 ] || fail "two files"
expect "--checkpoint=a and --resume=b mean the same: give one"
[ "$(run)" = 1 ] || fail "no file"
expect "give --checkpoint=FILE"
[ "$(run --checkpoint=$weights --to=onnx)" = 1 ] || fail "--to=onnx"
expect "ONNX is //tools:export -- --format=onnx --checkpoint=FILE --output=encoder.onnx"
[ "$(run --checkpoint=facebook/vit-mae-base)" = 1 ] || fail "a name on a hub"
expect "hf download facebook/vit-mae-base"
[ "$(run --checkpoint=https://example.org/a.pth)" = 1 ] || fail "an address"
expect "curl -L -o FILE \"https://example.org/a.pth\""
[ "$(run --help)" = 0 ] || fail "convert --help"
expect "  ./bazelw run //tools:convert -- --checkpoint=runs/mine/this_checkpoint.pth --to=timm --output_dir=for_timm"

program=tools/export/export
for flag in checkpoint resume; do
  [ "$(run --$flag=$weights --output="$TEST_TMPDIR/$flag.onnx" --heads=2)" = 0 ] || fail "export --$flag"
done
cmp "$TEST_TMPDIR/checkpoint.onnx" "$TEST_TMPDIR/resume.onnx" || fail "another model"
[ "$(run --checkpoint=a --resume=b)" = 1 ] || fail "two files"
expect "give one"
[ "$(run --checkpoint=$weights --format=timm)" = 1 ] || fail "--format=timm"
expect "//tools:convert"
[ "$(run --help)" = 0 ] || fail "export --help"
expect "  ./bazelw run //tools:export -- --checkpoint=runs/mine/this_checkpoint.pth --output=encoder.onnx"

program=tools/weights/inspect
[ "$(run --checkpoint=$weights --heads=2)" = 0 ] || fail "inspect --checkpoint"
expect "cls_token"
