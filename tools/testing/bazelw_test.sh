#!/usr/bin/env bash
# What ./bazelw says on machines that lack something, played by a folder of stand-ins that is all of PATH.
set -eu

bazelw=$PWD/bazelw
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$work/bin
failures=0

# A machine with everything; what is asked of Bazel is printed.
machine() {
  rm -rf "$bin"
  mkdir "$bin"
  for name in sh cat rm mktemp id head sed grep basename dirname as ld; do
    ln -s "$(command -v $name)" "$bin/$name"
  done
  for name in apt-get dpkg-deb sha256sum ar; do stand_in $name 'exit 0'; done
  # Not root: nothing is to be installed here.
  rm "$bin/id"
  stand_in id 'echo 1000'
  stand_in uname 'echo x86_64'
  stand_in bazel-4 'echo "Bazel was asked: $*"'
  stand_in python3 'exit 0'
  ln -s /usr/bin/gcc "$bin/gcc"
  ln -s /usr/bin/g++ "$bin/g++"
}
stand_in() {  # NAME SCRIPT
  rm -f "$bin/$1"
  printf '#!/bin/sh\n%s\n' "$2" > "$bin/$1"
  chmod +x "$bin/$1"
}
# CODE TEXT [VARIABLE=VALUE...]: ./bazelw build //x ends so and says this.
says() {
  local code=0 output
  output=$(env -i PATH="$bin" "${@:3}" /bin/sh "$bazelw" build //x 2>&1) || code=$?
  if [ "$code" != "$1" ] || ! grep -qF -- "$2" <<< "$output"; then
    printf 'exit code %s, expected %s with: %s\n%s\n' "$code" "$1" "$2" "$output"
    failures=$((failures + 1))
  fi
}

machine
says 0 "Bazel was asked: build //x"

stand_in uname 'echo aarch64'
says 1 "this machine is aarch64; TEC is built for x86-64 alone"

machine
rm "$bin/dpkg-deb"
says 1 "dpkg-deb not found; the build takes its libraries from Debian 12 packages"

machine
rm "$bin/bazel-4" "$bin/g++"
says 1 "apt-get install -y --no-install-recommends bazel-bootstrap g++"
# Another Bazel is none.
stand_in bazel 'echo "bazel 7.4.1"'
says 1 "bazel-bootstrap g++"
# Bazelisk's is one, under that name.
ln -s /usr/bin/g++ "$bin/g++"
stand_in bazel 'if [ "$1" = --version ]; then echo "bazel 4.2.3"; else echo "Bazelisk was asked: $*"; fi'
says 0 "Bazelisk was asked: build //x"

# An environment's Python without pip comes first: the system's is taken, where it has it.
machine
stand_in python3 'exit 1'
if /usr/bin/python3 -c 'import pip' 2> /dev/null; then says 0 "Bazel was asked"; else says 1 "python3-pip"; fi

# A compiler that makes nothing that runs here is named, with the environment it is of.
machine
stand_in conda-gcc 'exit 1'
says 1 "the compiler CC=conda-gcc ($bin/conda-gcc, Conda environment /opt/conda) makes no" CC=conda-gcc \
  CONDA_PREFIX=/opt/conda
says 1 "env -u CC -u CXX PATH=/usr/sbin:/usr/bin:/sbin:/bin ./bazelw" CC=conda-gcc
says 1 "the compiler CC=no-such-gcc (not found)" CC=no-such-gcc
says 0 "Bazel was asked" CC="$bin/gcc"

echo "$failures failures"
[ "$failures" = 0 ]
