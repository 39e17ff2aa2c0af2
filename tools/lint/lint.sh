#!/usr/bin/env bash
# Checks every file of the working tree that git knows or would add. Run it as ./bazelw run //tools/lint [-- --fix].
#
# What it asks for: clang-format's formatting; header guards by path, TEC_ first; no tabs, trailing blanks or, in build
# files and scripts, lines over 120 columns; a name on every to-do; the logging macros of tec/base/logging.h instead of
# LOG and CHECK, which c10, glog and Abseil each define; the narrow headers of LibTorch instead of torch/torch.h (17 s a
# file); nothing of eval/, tools/ and benchmarks/ in tec/ and data/, but in their tests and in the program; the rules of
# tools/build_defs in BUILD files; every library with something for CUDA in the program that the wheel has for it; every
# program of benchmarks/ in a short run.
set -eu

clang_format=$(readlink -f "$1")
fix=${2:-}
cd "${BUILD_WORKSPACE_DIRECTORY:?run it as ./bazelw run //tools/lint}"

files() {  # PATHSPEC...: names of text files of our own, one a line; tec/testing/goldens is data.
  git ls-files --cached --others --exclude-standard -- "$@" ':!tec/testing/goldens' |
    while read -r file; do if [ -f "$file" ]; then echo "$file"; fi; done
}
cpp=$(files '*.h' '*.cc' '*.cu')
build=$(files 'BUILD' '*/BUILD' ':!third_party')
script=$(files 'BUILD' '*/BUILD' '*.BUILD' '*.bzl' 'WORKSPACE' '*.sh' '*.py' 'bazelw' '.bazelrc' '.ci/*')
text="$cpp $script $(files '*.proto' '*.textproto' '*.md')"

problems=$(mktemp)
trap 'rm -f "$problems"' EXIT

# PATTERN MESSAGE FILES: a problem for each line that matches the extended regular expression.
forbid() {
  # shellcheck disable=SC2086  # one word a file; git quotes names with blanks, and we have none
  [ -z "$3" ] || grep -nHE -e "$1" $3 | sed -e "s|\$|   <-- $2|" >> "$problems" || true
}

# shellcheck disable=SC2086
if [ "$fix" = --fix ]; then "$clang_format" -i $cpp; fi
# shellcheck disable=SC2086
"$clang_format" --dry-run $cpp 2>&1 | grep 'warning:' >> "$problems" || true

tab=$(printf '\t')
forbid "$tab" "tab" "$text"
forbid ' +$' "trailing blank" "$text"
forbid '^.{121,}$' "over 120 columns" "$script"
forbid '\b(TO''DO|FIX''ME|X''XX)\b([^(]|$)' "a to-do needs a name: TO""DO(name)" "$text"
forbid '(^|[^A-Za-z0-9_])(LOG|D?CHECK(_[A-Z]+)?)\(' "use TEC_LOG and TEC_CHECK" "$cpp"
forbid 'include [<"]torch/torch\.h' "include the header that declares what is used" "$cpp"
forbid 'include "(eval|tools|benchmarks)/' "tec and data need nothing of what stands above (docs/architecture.md)" \
  "$(echo "$cpp" | grep -E '^(tec|data)/' | grep -vE '_test\.cc$|^tec/pretrain_main\.cc$')"
# What a library depends on without including it, too.
# shellcheck disable=SC2086
awk '
    FNR == 1 || /^\)/ { library = 0 }
    /^[a-z_]+_library\($/ { library = 1 }
    library && /"\/\/(eval|tools|benchmarks)[\/:]/ && !/:__(pkg|subpackages)__"/ {
      print FILENAME ":" FNR ":" $0 "   <-- tec and data need nothing of what stands above (docs/architecture.md)"
    }' $(echo "$build" | grep -E '^(tec|data)/') >> "$problems"
forbid 'at::parallel_for' 'without tec/nn/parallel.h it is a plain loop' \
  "$(grep -lF 'at::parallel_for' $cpp | xargs -r grep -LF -e '"tec/nn/parallel.h"' -e 'TEC_NN_PARALLEL_H_')"
forbid '^(native\.)?cc_(library|binary|test)\(' "use the rules of //tools/build_defs:tec.bzl" "$build"

# shellcheck disable=SC2086
for library in $(awk '
    FNR == 1 { package = FILENAME; sub("/?BUILD$", "", package) }
    /^[a-z_]+\($/ { rule = $0 }
    /^    name = / { split($0, part, "\""); name = part[2] }
    /^    cuda(_deps)? = / && rule == "tec_cc_library(" { print "//" package ":" name "_for_cuda" }' $build); do
  grep -qF "\"$library\"" tec/command/BUILD ||
    echo "tec/command/BUILD: for_cuda lacks $library: the wheel's program for CUDA would be without" >> "$problems"
done

# shellcheck disable=SC2086
for program in $(awk '
    FNR == 1 { package = FILENAME; sub("/BUILD$", "", package) }
    /^[a-z_]+\($/ { rule = $0 }
    /^    name = / && rule ~ /^(tec_cc_benchmark|tec_cc_binary|sh_binary)/ {
      split($0, part, "\""); print package "/" part[2]
    }' $(echo "$build" | grep '^benchmarks/.*/')); do
  grep -qwF -e "$program" -e "//${program%/*}:${program##*/}" benchmarks/short_runs_test.sh \
    benchmarks/peers/short_runs_test.sh .ci/run ||
    echo "${program%/*}/BUILD: neither benchmarks/short_runs_test.sh, nor that of peers/, nor .ci/run runs" \
      "${program##*/}: it could break unseen" >> "$problems"
done

# A header that takes the place of LibTorch's is guarded as that one is, by #pragma once.
for file in $(echo "$cpp" | grep '\.h$' | grep -v '^third_party/torch/narrow/' || true); do
  guard=TEC_$(echo "${file#tec/}" | tr 'a-z/.-' 'A-Z___')_
  if [ "$(grep -cxE "#(ifndef|define|endif  //) $guard" "$file")" != 3 ]; then
    echo "$file: the header guard should be $guard" >> "$problems"
  fi
done
for file in $text; do
  if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo "$file: no newline at the end" >> "$problems"; fi
done

if [ -s "$problems" ]; then
  cat "$problems"
  echo "lint: $(wc -l < "$problems") problems"
  exit 1
fi
echo "lint: $(echo "$text" | wc -w) files, no problem"
