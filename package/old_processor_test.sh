#!/usr/bin/env bash
# PROGRAM...: on a processor without AVX2, which QEMU plays, each says so in one line and ends with exit code 1, before
# any instruction that such a processor has not; on one that has it, --version is answered.
#
# QEMU is Debian's, unpacked without being installed into ~/.cache/tec-qemu (63 MB to download, once).
set -eu

home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
folder=${XDG_CACHE_HOME:-$home/.cache}/tec-qemu
qemu=$folder/qemu-x86_64-static
if [ ! -x "$qemu" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  [ "$(id -u)" != 0 ] || apt-get -qq update
  # Its sandbox user may not write here.
  (cd "$work" && apt-get -qq -o APT::Sandbox::User= download qemu-user-static && dpkg-deb -x qemu-user-static_*.deb .)
  mkdir -p "$folder"
  # Whole or not at all.
  cp "$work/usr/bin/qemu-x86_64-static" "$qemu.$$"
  mv "$qemu.$$" "$qemu"
fi

fail() {
  echo "old_processor_test: $*" >&2
  exit 1
}

# PROCESSOR PROGRAM ARGUMENT: what it prints and how it ends, without QEMU's own warnings: of features of the processor
# that have nothing to do with this.
played() {
  local output code=0
  output=$("$qemu" -cpu "$@" 2>&1) || code=$?
  grep -v 'warning: TCG' <<< "$output" || true
  echo "exit code $code"
}

for program in "$@"; do
  name=$(basename "$program")
  for processor in qemu64 Nehalem IvyBridge; do
    for argument in --version --help; do
      got=$(played "$processor" "$program" "$argument")
      expected="$name: this processor lacks AVX2, FMA or BMI2 (x86-64-v3), for which the programs are compiled"
      [ "$got" = "$expected"$'\n'"exit code 1" ] || fail "$name $argument on $processor: $got"
    done
  done
  got=$(played Haswell "$program" --version)
  [[ "$got" = "$name (TEC) "*$'\n'"exit code 0" ]] || fail "$name on a processor with AVX2: $got"
done
echo "old_processor_test: $# programs"
[ $# -gt 0 ]
