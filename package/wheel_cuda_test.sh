#!/usr/bin/env bash
# WHEEL VERSION PRETRAIN: the wheel with the programs for CUDA beside those without. With PyTorch for CUDA those for
# CUDA are taken; without a GPU they say so, and train on the CPU to the bytes of the checkpoint that the build's own
# PRETRAIN writes. With PyTorch that has no CUDA the others are taken, and do the same.
#
# PyTorch and NVIDIA's libraries are those of this build, in the folders of their wheels.
set -eu
# The programs take relative paths from where the user stands, which is here.
unset BUILD_WORKING_DIRECTORY

wheel=$(readlink -f "$1") version=$2 pretrain=$(readlink -f "$3")
script=$(readlink -f package/try_wheel.sh)
external=$(dirname "$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")")
python=$(command -v python3.11 || command -v python3)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "wheel_cuda_test: $*" >&2
  exit 1
}

mkdir -p "$work/shared/packages/nvidia"
for source in "$external/cuda_libraries/nvidia" "$external/libtorch/nvidia"; do
  cp -rs "$source/." "$work/shared/packages/nvidia/"
done
cp -rs "$external"/libtorch/torch-*.dist-info "$work/shared/packages/"
mkdir "$work/shared/packages/torch"
cp -rs "$external/libtorch/torch/lib" "$external"/libtorch/torch/*.py "$work/shared/packages/torch/"
cp "$script" package/short.textproto "$work/shared/"

"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --disable-pip-version-check -q --python "$work/venv/bin/python" install --no-index --no-deps "$wheel"
packages=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in cpu cuda; do
  # Of the driver's and NVIDIA's libraries, the runtime alone is ours to ask for; PyTorch knows where the others are.
  readelf -d "$packages/tec/bin/$name/tec" | sed -n 's/.*NEEDED.*\[\(lib\(cu\|nv\|nccl\).*\)\]/\1/p' > "$work/$name"
  if grep -raoE "(/\.cache|/execroot|_solib)/[ -~]*" "$packages/tec/bin/$name/tec"; then
    fail "these paths in $name/tec are the build machine's"
  fi
done
[ ! -s "$work/cpu" ] || fail "the program without CUDA needs $(cat "$work/cpu")"
[ "$(cat "$work/cuda")" = libcudart.so.13 ] || fail "the program for CUDA needs $(cat "$work/cuda")"

flags=$(sed -n 's/^flags="\(.*\)"$/\1/p' "$script")
# shellcheck disable=SC2086  # one word a flag
(cd "$work/shared" && "$pretrain" ${flags#pretrain } > "$work/log" 2>&1) || { cat "$work/log"; fail "$pretrain"; }
expected=$(sha256sum < "$work/shared/run/tec/checkpoint-0.pth")
[ -s "$work/shared/run/tec/checkpoint-0.pth" ] || fail "the build's own run wrote no checkpoint"
rm -rf "$work/shared/run"

# WHICH: the program that has to be taken, with PyTorch's files as they are now.
try() {
  bash "$script" "$work/venv" "$work/shared" "$version"
  [ "$(sha256sum < "$work/shared/run/tec/checkpoint-0.pth")" = "$expected" ] || fail "$1: another checkpoint"
  rm -rf "$work/shared/run"
  # try_wheel.sh has left the environment without it.
  ln -sfn "$work/shared/packages/torch-2.11.0.dist-info" "$packages/torch-2.11.0.dist-info"
  taken=$("$work/venv/bin/python" -c 'import tec; print(tec._program()[0].parent.name)')
  [ "$taken" = "$1" ] || fail "$taken is taken, not $1"
  code=0
  # shellcheck disable=SC2086  # one word a flag
  (cd "$work/shared" && CUDA_VISIBLE_DEVICES='' "$work/venv/bin/tec" $flags --device=cuda > "$work/log" 2>&1) || code=$?
  { [ "$code" = 1 ] && grep -q "no such CUDA device is present ($2" "$work/log"; } ||
    { cat "$work/log"; fail "$1: exit code $code without a GPU"; }
  rm -rf "$work/shared/run"
}
try cuda '0 found'
rm "$work/shared/packages/torch/lib"/libtorch_cuda* "$work/shared/packages/torch/lib/libc10_cuda.so"
rm -r "$work/shared/packages/nvidia"/{cudnn,nccl,cusparselt,nvshmem}
try cpu 'this program has no CUDA'
echo "wheel_cuda_test: the same checkpoint with and without PyTorch's CUDA half, $expected"
