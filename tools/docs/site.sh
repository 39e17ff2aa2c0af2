#!/usr/bin/env bash
# Builds the documents as a web site and checks every link in it:
#
#   ./bazelw run //tools/docs:site -- FOLDER      # default: site
#
# Pages are docs/*.md, CHANGELOG.md, and all flags of all programs, as their --help prints them. A link to what is not
# there, a page that no menu has, a heading that is linked to and missing: each is an error. MkDocs is installed once
# into the user's cache folder, pinned by content.
set -eu

python=$(command -v python3.11) && "$python" -c 'import pip' 2>/dev/null || {
  echo "site: needs Python 3.11 with pip; Debian 12 has them: apt-get install python3 python3-pip" >&2
  exit 1
}
output=${1:-site}
case $output in
  /*) ;;
  *) output=${BUILD_WORKING_DIRECTORY:-$PWD}/$output ;;
esac
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
requirements=tools/docs/requirements.txt
installed=${XDG_CACHE_HOME:-$home/.cache}/tec-docs/$(sha256sum "$requirements" | cut -c1-16)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$installed" ]; then
  mkdir -p "$(dirname "$installed")"
  # Whole or not at all.
  "$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps \
    --only-binary=:all: --require-hashes --target="$work/packages" -r "$requirements"
  mv -T "$work/packages" "$installed" 2>/dev/null || [ -e "$installed" ]
fi

mkdir "$work/docs"
cp -L docs/*.md "$work/docs"
mkdir "$work/docs/pictures"
cp -L docs/pictures/* "$work/docs/pictures"
cp -L CHANGELOG.md "$work/docs/changelog.md"
cp -L tools/docs/site.css "$work/docs"
# What is in the repository and not in the site.
sed -i -E 's|\[([^]]*)\]\(\.\./[^)]*\)|`\1`|g' "$work"/docs/*.md

{
  echo "# All flags"
  echo
  echo "As each program prints them with \`--help\`."
} >"$work/docs/flags.md"
# TARGET PROGRAM
flags() {
  {
    printf '\n## %s\n\n' "$1"
    "$2" --help </dev/null | sed 's/^/    /; s/ *$//'
  } >>"$work/docs/flags.md"
}
flags //tec:pretrain tec/pretrain
flags //eval:finetune eval/finetune/finetune
flags //eval:predict eval/predict/predict
flags //eval:knn eval/knn/knn
flags //eval:linear eval/linear/linear
flags //eval:logistic eval/logistic/logistic
flags //eval:dense eval/dense/dense
flags //eval:reproduce eval/reproduce/reproduce
flags //tools:report eval/report/report
flags //tools:runs eval/report/runs
flags //tools:embed eval/embed/embed
flags //tools:neighbours eval/embed/neighbours
flags //tools:convert tools/convert/convert
flags //tools:export tools/export/export
flags //tools:inspect tools/weights/inspect
flags //tools:diff tools/weights/diff
flags //tools:scale_plan tools/scale_plan/scale_plan
flags //tools:shard tools/shard/shard
flags //tools:verify_dataset tools/verify_dataset/verify_dataset
flags //tools:augment_preview tools/augment_preview/augment_preview

{
  cat tools/docs/mkdocs.yml
  echo "docs_dir: $work/docs"
  echo "site_dir: $output"
} >"$work/mkdocs.yml"
export PYTHONPATH=$installed PYTHONPYCACHEPREFIX=$work/pycache PYTHONNOUSERSITE=1
# --strict: what is warned of ends the build.
"$python" -m mkdocs build --quiet --strict --clean -f "$work/mkdocs.yml"
[ -s "$output/index.html" ] && [ -s "$output/flags/index.html" ]
echo "site: $(find "$output" -name '*.html' | wc -l) pages in $output"
