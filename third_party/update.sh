#!/bin/sh
# Pins what Debian's archive has now, then runs every test: ./bazelw run //third_party:update
#
# Where the pins are so old that Bazel cannot even start on it: python3 third_party/debian_packages.py update
set -eu
cd "${BUILD_WORKSPACE_DIRECTORY:?run it as ./bazelw run //third_party:update}"
python3 third_party/debian_packages.py update
git --no-pager diff --stat -- third_party || true
exec ./bazelw test //...
