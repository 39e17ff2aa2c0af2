#!/usr/bin/env bash
# ARCHIVE VERSION: package/Dockerfile, as Docker's parser reads it, and package/tec.def: what is in them is known, and
# their commands, run in a fresh Debian 12 with nothing in it, end in a `tec` that trains. Neither Docker nor Apptainer
# is asked: neither is here.
set -eu

archive=$(readlink -f "$1") version=$2
debian_root=$(readlink -f package/debian_root.sh)
requirements=$(readlink -f package/recipes_requirements.txt)
docker=$(readlink -f package/Dockerfile) apptainer=$(readlink -f package/tec.def)
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
root=${XDG_CACHE_HOME:-$home/.cache}/tec-debian12/root
work=$(mktemp -d)
trap 'rm -rf "$work" "$root"/opt/tec* "$root/usr/local/bin/tec"' EXIT

python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
  --require-hashes --target="$work/packages" -r "$requirements"
PYTHONPATH=$work/packages python3 - "$docker" "$apptainer" "$(basename "$archive")" "$work" <<'END'
import fnmatch, re, sys
import dockerfile
docker, apptainer, archive, work = sys.argv[1:]

commands = dockerfile.parse_file(docker)
assert [command.cmd for command in commands] == ["FROM", "ADD", "RUN", "WORKDIR", "ENTRYPOINT", "CMD"], commands
image, add, run, _, entry, _ = commands
assert fnmatch.fnmatch(archive, add.value[0]) and add.value[1] == "/opt/", add
assert entry.json and entry.value == ("tec",), entry
open(work + "/docker.sh", "w").write("set -e\n" + run.value[0] + "\n")

head, *rest = re.split(r"^%(\w+)[^\n]*\n", open(apptainer).read(), flags=re.M)
settings = dict(re.findall(r"^(\w+): (.*)$", head, re.M))
assert settings == {"Bootstrap": "docker", "From": image.value[0]}, settings
sections = dict(zip(rest[::2], rest[1::2]))
# Those that Apptainer knows and this file may have.
assert set(sections) == {"files", "post", "test", "runscript", "labels"}, list(sections)
assert sections["files"].split() == ["tec.tar.gz", "/opt/tec.tar.gz"], sections["files"]
open(work + "/post.sh", "w").write("set -e\n" + sections["post"] + sections["test"])
open(work + "/runscript.sh", "w").write(sections["runscript"])
END
"$debian_root" bookworm "$root"

cp package/short.textproto "$work/"
flags="pretrain --config=$work/short.textproto --device=cpu --threads=1"
in_root() { "$debian_root" --run "$root" "$work" "$@"; }
clean() { rm -rf "$root"/opt/tec* "$root/usr/local/bin/tec"; }

clean
tar -xzf "$archive" -C "$root/opt"
[ "$(in_root sh "$work/docker.sh")" = "tec (TEC) $version" ]
# shellcheck disable=SC2086  # one word a flag
in_root tec $flags --output_dir="$work/docker" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
tail -n 5 "$work/log"

clean
cp "$archive" "$root/opt/tec.tar.gz"
[ "$(in_root sh "$work/post.sh")" = "tec (TEC) $version" ]
[ "$(in_root sh "$work/runscript.sh" --version)" = "tec (TEC) $version" ]
echo "recipes_test: the commands of Dockerfile and tec.def work in a fresh Debian 12"
