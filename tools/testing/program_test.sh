# Sourced by tests of a program, which set `program` first: runs it, and looks for lines in what it last printed.

# MESSAGE: ends the test.
fail() {
  echo "$1"
  cat "$TEST_TMPDIR/out"
  exit 1
}
# ARGUMENT...: prints the exit code.
run() {
  local code=0
  "$program" "$@" >"$TEST_TMPDIR/out" 2>&1 || code=$?
  echo "$code"
}
# TEXT: what the last run printed has it.
expect() {
  grep -qF -- "$1" "$TEST_TMPDIR/out" || fail "no line with: $1"
}
