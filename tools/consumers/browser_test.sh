#!/usr/bin/env bash
# Opens the pages of //tools:report in Chromium, with Pillow to look at the screenshots. Chromium is Debian's; as root
# it is installed if it is missing. Arguments go to unittest.
set -eu

requirements=tools/consumers/pillow_requirements.txt
. tools/consumers/environment.sh

if ! command -v chromium >/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "browser_test: needs Chromium: apt-get install -y --no-install-recommends chromium" >&2
    exit 1
  fi
  echo "installing chromium"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends chromium >/dev/null
fi
export PYTHONPATH=$folder PYTHONPYCACHEPREFIX=$folder/pycache PYTHONNOUSERSITE=1
exec "$python" tools/consumers/browser_test.py "$@"
