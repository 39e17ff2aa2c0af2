#!/usr/bin/env bash
# Every program of benchmarks/, at its smallest: each ends well and prints its figures. What they are is not asked.
# tools/lint wants each one here or in what else runs benchmarks.
set -eu
work=$TEST_TMPDIR

# PROGRAM [ARGUMENT...]: fails where it fails, or where a case of a Google Benchmark program was given up. What it
# prints is in $work/out.
short_run() {
  echo "=== $*"
  "$@" > "$work/out" 2>&1 || { cat "$work/out"; echo "$1: exit code $?"; exit 1; }
  if grep 'ERROR OCCURRED' "$work/out"; then
    echo "$1: a case was given up"
    exit 1
  fi
}
# PATTERN: what the last one printed has a line that matches.
expect() {
  grep -qE -- "$1" "$work/out" || { cat "$work/out"; echo "no line with: $1"; exit 1; }
}

# Data.
short_run benchmarks/data/photographs --folder="$work" --count=6
expect '^6 photographs in '
short_run benchmarks/data/photographs --folder="$work" --tiny=3
expect '^3 tiny pictures in '
short_run benchmarks/data/pipeline --folder="$work/photographs" --images=4 --batch_size=2
expect '"images": 4, '
short_run benchmarks/data/pipeline --folder="$work/photographs" --images=4 --batch_size=2 --threads=2 \
  --against_one_thread=1
expect '"rounds": 1, '
short_run benchmarks/data/containers --folder="$work/photographs" --work_folder="$work" --rounds=1
expect 'of the folder'
short_run benchmarks/data/loader_bench --folder="$work/photographs" --benchmark_min_time=0.001
expect 'Loader/2.*images_per_second='
short_run benchmarks/data/augment --folder="$work/photographs" --benchmark_min_time=0.001
expect '^RandAugment '

# Training.
cat > "$work/tiny.textproto" <<'END'
method: TEC
model {
  name: "custom" mlp_token: true pred_att: true
  encoder { image_size: 32 patch_size: 8 width: 64 depth: 3 heads: 2 }
  decoder { width: 32 depth: 1 heads: 2 }
}
base_model { name: "custom" topkatt: 3 encoder { image_size: 32 patch_size: 8 width: 64 depth: 3 heads: 2 } }
END
short_run benchmarks/train/step --benchmark_filter=tiny
expect 'tiny_batch_128/.*of_gemm='
expect 'tiny_two_of_64/.*of_gemm='
for precision in float32 bfloat16; do
  short_run benchmarks/train/traffic --experiment="$work/tiny.textproto" --precision=$precision --operations --shapes
  expect '^elementwise, per image '
  short_run benchmarks/train/traffic --experiment="$work/tiny.textproto" --precision=$precision --finetune
  expect '^elementwise, per image '
done
short_run benchmarks/train/products --benchmark_filter=tiny
expect 'Products/tiny_batch_8/float32.*of_step='
expect 'Products/finetune_tiny_batch_4/float32.*of_step='
short_run benchmarks/train/overlap --batch=2 --updates=1 --trace
expect '^communication .* of it hidden'

# Evaluation.
short_run benchmarks/eval/finetune_step --benchmark_filter=tiny
expect 'FinetuneStep/tiny/float32.*images/s='
short_run benchmarks/eval/evaluators --benchmark_min_time=0.01 --benchmark_filter='Knn/100000|Sweep/13'
expect '^Knn/100000.*queries/s='
expect '^Sweep/13.*against_separate='
