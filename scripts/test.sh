#!/usr/bin/env bash
# Builds and runs all tests. Works with no network and no test data outside the tree; what is skipped
# for want of them is named. The last line says passed, failed, skipped.
#   scripts/test.sh [preset] [test program …]     default: release, all
set -uo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}; shift || true
only=("$@")

if [[ -z ${NIBBLE_TEST_DATA:-} && -d ../shared/data && -d ../shared/golden ]]; then
  NIBBLE_TEST_DATA=$(cd ../shared && pwd); export NIBBLE_TEST_DATA
fi
if ! command -v cmake >/dev/null || ! command -v ninja >/dev/null; then
  scripts/install_packages.sh || exit 1
fi
cmake --preset "$preset" >/dev/null || exit 1
if ((${#only[@]})); then targets=(--target "${only[@]}"); else targets=(); fi
cmake --build --preset "$preset" "${targets[@]}" -- --quiet || { echo "build failed"; exit 1; }

build=build/$preset
export NIBBLE_BINARY=$PWD/$build/nibble
passed=0; failed=0; skipped=0
log=$(mktemp -d); trap 'rm -rf "$log"' EXIT

count() {  # FILE of a GoogleTest run → adds to the totals, prints skips with their reasons
  local p f s
  p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$1" | tail -1)
  f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*, listed below:/\1/p' "$1" | tail -1)
  s=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*, listed below:/\1/p' "$1" | tail -1)
  passed=$((passed + ${p:-0})); failed=$((failed + ${f:-0})); skipped=$((skipped + ${s:-0}))
  grep -h '^skipped: ' "$1" | sort -u | sed 's/^/  /'
}

for program in "$build"/tests/*_tests; do
  name=$(basename "$program")
  if ((${#only[@]})) && [[ ! " ${only[*]} " == *" $name "* ]]; then continue; fi
  start=$SECONDS
  "$program" --gtest_brief=0 >"$log/$name" 2>&1 </dev/null; code=$?
  before=$failed
  count "$log/$name"
  if ((code != 0)); then
    ((failed > before)) || failed=$((failed + 1))  # died before it could count
    grep -E '^\[  FAILED  \]|Failure|ERROR: |SUMMARY:|runtime error' -A6 "$log/$name" | head -80
    tail -5 "$log/$name"
  fi
  printf '%-20s %4d s  exit %d\n' "$name" $((SECONDS - start)) "$code"
done

# Programs that drive the finished binary: each prints "ok NAME", "FAIL NAME" or "skipped: NAME: why".
if ((${#only[@]} == 0)); then
  for script in tests/e2e/*.sh; do
    [[ -e $script ]] || continue
    start=$SECONDS
    bash "$script" >"$log/e2e" 2>&1 </dev/null; code=$?
    passed=$((passed + $(grep -c '^ok ' "$log/e2e")))
    skipped=$((skipped + $(grep -c '^skipped: ' "$log/e2e")))
    bad=$(grep -c '^FAIL ' "$log/e2e"); failed=$((failed + bad))
    grep -h '^skipped: ' "$log/e2e" | sed 's/^/  /'
    if ((code != 0 || bad)); then ((bad)) || failed=$((failed + 1)); tail -40 "$log/e2e"; fi
    printf '%-20s %4d s  exit %d\n' "$(basename "$script")" $((SECONDS - start)) "$code"
  done
fi

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
