#!/usr/bin/env bash
# WHEEL VERSION PRETRAIN: what auditwheel says of the wheel, what is in it, and whether it trains, installed by pip
# under two of the Pythons that are here and in a fresh Debian 13, to the bytes of the checkpoint that the build's own
# PRETRAIN writes.
#
# PyTorch is the one of this build; torch's wheel for other Pythons differs in what Python itself loads.
set -eu
# The programs take relative paths from where the user stands, which is here.
unset BUILD_WORKING_DIRECTORY

wheel=$(readlink -f "$1") version=$2 pretrain=$(readlink -f "$3")
script=$(readlink -f package/try_wheel.sh) config=$(readlink -f package/short.textproto)
debian_root=$(readlink -f package/debian_root.sh)
requirements=$(readlink -f package/requirements.txt)
libtorch=$(dirname "$(dirname "$(readlink -f ../libtorch/torch/__init__.py)")")
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "wheel_test: $*" >&2
  exit 1
}
pip() {  # With the first Python that has it: a new environment needs none of its own.
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import pip' 2>/dev/null; then
      "$python" -m pip --disable-pip-version-check "$@"
      return
    fi
  done
  fail "no Python with pip"
}

echo "--- what auditwheel says"
pip install -q --root-user-action=ignore --no-deps --only-binary=:all: --require-hashes --target="$work/auditwheel" \
  -r "$requirements"
PYTHONPATH=$work/auditwheel python3 -m auditwheel show --json "$wheel" > "$work/audit.json"
python3 - "$work/audit.json" "$wheel" <<'END'
import json, re, sys
audit = json.load(open(sys.argv[1]))
tag = re.search(r"-(manylinux[^-]*)\.whl$", sys.argv[2])[1]
print("symbols:", audit["sym_tag"], "| not in the wheel:", ", ".join(sorted(audit["external_libs"])))
assert audit["sym_tag"] == tag, (audit["sym_tag"], tag, audit["policy_upgrades"])
# What manylinux promises, and what torch's wheel and those that it requires bring.
other = [name for name in audit["external_libs"] if not re.match(
    r"(libtorch|libc10|libgomp|libcu|libnv|libnccl|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libstdc\+\+|libgcc_s"
    r"|ld-linux)", name)]
assert not other, other
END

echo "--- what is in it"
python3 -m zipfile -e "$wheel" "$work/unpacked"
name=$(basename "$wheel")
[ "$name" = "tec_pretrain-$version-py3-none-manylinux_2_34_x86_64.whl" ] || fail "the name is $name"
if grep -raoE "($home|/\.cache|/execroot|_solib)/[ -~]*" "$work/unpacked"; then
  fail "these paths are the build machine's"
fi
for program in "$work/unpacked"/tec/bin/*/tec; do
  ! readelf -S "$program" | grep -q '\.symtab' || fail "$program is not stripped"
  # shellcheck disable=SC2016  # the linker's own variable
  readelf -d "$program" | grep -q 'RUNPATH.*\[\$ORIGIN/../../lib:\$ORIGIN/../../../torch/lib:' ||
    fail "RUNPATH of $program"
done
for text in 'Requires-Dist: torch==2.11.*' "Version: $version" 'Name: tec-pretrain'; do
  grep -qxF "$text" "$work/unpacked/tec_pretrain-$version.dist-info/METADATA" || fail "METADATA lacks $text"
done
for package in libabsl-dev libgoogle-glog0v6 libprotobuf-dev libtiff-dev libunwind8 liblzma5 onnx-1.20.1.LICENSE; do
  [ -s "$(echo "$work/unpacked/tec_pretrain-$version.dist-info/licenses/$package"*)" ] || fail "no licence of $package"
done

# PLACE: compares the checkpoint that was written there with the build's.
compare() {
  local got
  got=$(sha256sum "$work/shared/run/tec/checkpoint-0.pth" | cut -d' ' -f1)
  echo "checkpoint of $1: $got"
  [ "$got" = "$expected" ] || fail "the checkpoint of $1 differs from the build's, $expected"
  rm -rf "$work/shared/run"
}

# All runs are in one folder, in case its name is in the checkpoint.
echo "--- the build's own"
mkdir -p "$work/shared/packages"
cp "$wheel" "$script" "$config" "$work/shared/"
for path in torch/lib/libc10.so torch/lib/libgomp.so.1 torch/lib/libtorch_cpu.so torch/__init__.py torch/version.py \
    nvidia/cu13/lib/libcudart.so.13 nvidia/cu13/lib/libcupti.so.13 torch-2.11.0.dist-info/METADATA; do
  mkdir -p "$work/shared/packages/$(dirname "$path")"
  cp -L "$libtorch/$path" "$work/shared/packages/$path"
done
flags=$(sed -n 's/^flags="\(.*\)"$/\1/p' "$script")
# shellcheck disable=SC2086  # one word a flag
(cd "$work/shared" && "$pretrain" ${flags#pretrain } > "$work/log" 2>&1) ||
  { cat "$work/log"; fail "the build's own run"; }
expected=$(sha256sum "$work/shared/run/tec/checkpoint-0.pth" | cut -d' ' -f1)
[ -s "$work/shared/run/tec/checkpoint-0.pth" ] || fail "the build's own run wrote no checkpoint"
rm -rf "$work/shared/run"

# The first two that are here: the program is the same for all.
pythons=
for python in /usr/bin/python3.1? "$(command -v pyenv >/dev/null && pyenv root || true)"/versions/3.1?.*/bin/python3; do
  "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
  name=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case " $pythons " in *" $name "*) continue ;; esac
  [ "$(wc -w <<< "$pythons")" -lt 2 ] || break
  pythons="$pythons $name"
  echo "--- Python $name: $python"
  "$python" -m venv --without-pip "$work/venv$name"
  pip -q --python "$work/venv$name/bin/python" install --no-index --no-deps "$wheel"
  bash "$script" "$work/venv$name" "$work/shared" "$version"
  compare "Python $name"
done

echo "--- Debian 13"
root=${XDG_CACHE_HOME:-$home/.cache}/tec-debian13/root
"$debian_root" trixie "$root" python3 python3-venv
cat > "$work/shared/in_root.sh" <<'END'
set -eu
. /etc/os-release
[ "$VERSION_ID" = 13 ]
rm -rf /venv
python3 -m venv /venv
/venv/bin/pip -q install --no-index --no-deps "$1"/*.whl
bash "$1/try_wheel.sh" /venv "$1" "$2"
python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' > "$1/python_version"
END
"$debian_root" --run "$root" "$work/shared" bash "$work/shared/in_root.sh" "$work/shared" "$version"
pythons="$pythons $(cat "$work/shared/python_version")"
compare "Debian 13"
[ "$(tr ' ' '\n' <<< "${pythons# }" | sort -u | wc -l)" -ge 2 ] || fail "only one Python was there:$pythons"
echo "wheel_test: trained with Python $pythons"
