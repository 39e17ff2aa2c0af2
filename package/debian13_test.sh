#!/usr/bin/env bash
# Builds in a fresh Debian 13, by GCC 14, from the files of this checkout and with nothing but what ./bazelw installs
# there: ./bazelw run //package:debian13_test [-- TARGET...]
#
# Without targets: the programs that need no LibTorch, which are most of the packages, rules and libraries, and minutes
# where //tec:pretrain takes half an hour. That one is run, too: the default run, to its end.
set -eu
script=$(readlink -f package/debian_root.sh)
cd "${BUILD_WORKSPACE_DIRECTORY:?run it as ./bazelw run //package:debian13_test}"
[ $# -gt 0 ] || set -- //tools:inspect //tools:shard //tools:verify_dataset
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
root=${XDG_CACHE_HOME:-$home/.cache}/tec-debian13/root
"$script" trixie "$root" python3 python3-venv

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/project"
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$work/project"
cat > "$work/build.sh" <<'END'
set -eu
cd "$1/project"
shift
. /etc/os-release
[ "$VERSION_ID" = 13 ]
# As if for the first time.
rm -rf ~/.cache/tec-bazel ~/.cache/bazel
trap './bazelw shutdown; rm -rf ~/.cache/bazel ~/.cache/tec-bazel' EXIT
./bazelw build --curses=no --show_progress_rate_limit=60 "$@"
gcc --version | head -n 1
./bazelw run "$1" -- --version
case " $* " in *' //tec:pretrain '*) ./bazelw run //tec:pretrain ;; esac
END
[ ! -f user.bazelrc ] || cp user.bazelrc "$work/project/"
"$script" --run "$root" "$work" bash "$work/build.sh" "$work" "$@" 2>&1 | tee "$work/log"
grep -q '(TEC) ' "$work/log"
