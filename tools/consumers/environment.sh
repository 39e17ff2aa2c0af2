# To be sourced: installs the packages of $requirements, once, into a folder of the user's cache, and sets $python and
# $folder for them.

python=$(command -v python3.11) && "$python" -c 'import pip' 2>/dev/null || {
  echo "needs Python 3.11, which PyTorch's wheel is for, with pip. Debian 12 has them:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends python3 python3-pip" >&2
  exit 1
}
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
folder=${XDG_CACHE_HOME:-$home/.cache}/tec-consumers/$(sha256sum "$requirements" | cut -c1-16)
if [ ! -e "$folder" ]; then
  echo "installing $(grep -c == "$requirements") packages into $folder"
  # Whole or not at all: what a stopped installation leaves is not taken for one. Every package is named in the file, so
  # nothing is resolved, nothing else comes along.
  mkdir -p "$(dirname "$folder")"
  unfinished=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  "$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes --target="$unfinished" -r "$requirements"
  mv -T "$unfinished" "$folder"
  trap - EXIT
fi
