#!/usr/bin/env bash
# A fresh Debian of another release in a folder, to try things in:
#
#   debian_root.sh RELEASE FOLDER PACKAGE...
#       makes it, unless it is there, with these packages besides the smallest set
#   debian_root.sh --run FOLDER SHARED COMMAND...
#       runs a command in it; the folder SHARED is seen there under its own name
#
# As root: it uses debootstrap, which it installs if need be, chroot and bind mounts. What the machine needs to reach a
# network (proxies, certificates) is handed on.
set -eu
# chroot is there, which not every PATH has.
export PATH=$PATH:/usr/sbin:/sbin

certificates() {  # ROOT: the machine's own authorities, beside those of the package ca-certificates.
  mkdir -p "$1/etc/ssl/certs" "$1/usr/local/share/ca-certificates"
  cp -rL /usr/local/share/ca-certificates/. "$1/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" 2>/dev/null || true
}

make_root() {
  local release=$1 root=$2
  shift 2
  [ ! -e "$root/made" ] || return 0
  if ! command -v debootstrap >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap >/dev/null
  fi
  local packages=ca-certificates mirror
  for package in "$@"; do packages=$packages,$package; done
  # shellcheck disable=SC2016  # apt's own variables
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's|^\(https\?://[^ ]*/debian\)/* main$|\1|p' | head -n 1)
  # Whole or not at all. In a mount namespace of its own: debootstrap mounts /proc there, and if it is killed, the next
  # rm would find the machine's own. --one-file-system for those that were left so.
  local point
  while read -r _ point _; do
    case $point in "$root"/*) umount "$point" ;; esac
  done < <(tac /proc/mounts)
  rm -rf --one-file-system "$root"
  mkdir -p "$(dirname "$root")"
  unshare --mount debootstrap --variant=minbase --include="$packages" "$release" "$root" \
    "${mirror:-http://deb.debian.org/debian}" > "$root.log" 2>&1 || { cat "$root.log"; rm -rf "$root"; return 1; }
  cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
  touch "$root/made"
}

run_in_root() {
  local root=$1 shared=$2 status=0
  shift 2
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  certificates "$root"
  [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
  mkdir -p "$root$shared"
  local handed_on=()
  mapfile -t handed_on < <(env |
    grep -iE '^(https?_proxy|no_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|PIP_CERT|PIP_INDEX_URL)=')
  # A mount namespace of its own: nothing stays mounted, however this ends.
  # shellcheck disable=SC2016  # its own $1
  unshare --mount sh -c '
    root=$1 shared=$2
    shift 2
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind "$shared" "$root$shared" &&
      exec chroot "$root" "$@"' sh "$root" "$shared" \
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "${handed_on[@]}" "$@" || status=$?
  return "$status"
}

[ "$(id -u)" = 0 ] || { echo "debian_root.sh: a root of another release takes root's rights" >&2; exit 1; }
if [ "$1" = --run ]; then
  shift
  run_in_root "$@"
else
  make_root "$@"
fi
