#!/usr/bin/env bash
# Builds every harness of tests/fuzz and lets each search for a while; what it finds stays in
# build/fuzz/found.
#   scripts/fuzz.sh [SECONDS] [HARNESS…]     60 seconds each, all of them
# NIBBLE_FUZZ_SEED takes the search elsewhere.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
cmake --preset fuzz >/dev/null || exit 1
ninja -C build/fuzz "${@:-fuzzers}" | tail -1
names=("$@")
if ((${#names[@]} == 0)); then
  for source in tests/fuzz/*_fuzz.cpp; do names+=("$(basename "$source" .cpp)"); done
fi

# The search begins with what the tests hold for that kind of file, whole files of at most 64 KiB.
seed() {
  local corpus=$1 name=$2 file i=0
  mkdir -p "$corpus"
  [[ -d tests/fuzz/seeds/$name ]] && cp tests/fuzz/seeds/"$name"/* "$corpus"/
  case $name in
    tokenizer_json_fuzz)
      python3 - "$corpus" <<'PY'
import json, sys
for i, case in enumerate(json.load(open("tests/golden/tokenizers/components.json", encoding="utf-8"))):
    json.dump(case["tokenizer"], open("%s/components-%d" % (sys.argv[1], i), "w"))
PY
      ;;
    gguf_fuzz)
      for file in tests/golden/models/gguf/*.gguf; do cp "$file" "$corpus/seed-$((i++))"; done
      ;;
    jinja_fuzz)
      python3 - "$corpus" <<'PY'
import json, sys
for i, case in enumerate(json.load(open("tests/golden/jinja/cases.json", encoding="utf-8"))["cases"]):
    open("%s/case-%d" % (sys.argv[1], i), "w", encoding="utf-8").write(case["template"])
PY
      ;;
    sentencepiece_fuzz)
      for file in tests/golden/tokenizers/*.model; do cp "$file" "$corpus/seed-$((i++))"; done
      ;;
  esac
}

one() {  # NAME: a line, and whether it passed
  local name=$1 corpus=build/fuzz/corpus/$1 found=build/fuzz/found/$1 said
  mkdir -p "$found"
  seed "$corpus" "$name"
  if "build/fuzz/fuzz/$name" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
       -rss_limit_mb=1536 -seed="${NIBBLE_FUZZ_SEED:-1}" \
       -artifact_prefix="$found/" "$corpus" >"$found/log" 2>&1; then
    printf '%-24s %s\n' "$name" "$(grep -E '^Done' "$found/log" || echo done)"
    return 0
  fi
  printf '%-24s %s\n' "$name" "$(grep -E 'ERROR|SUMMARY' "$found/log" | head -2)"
  return 1
}

# Two at a time: each keeps one core busy.
passed=0 failed=0
for ((i = 0; i < ${#names[@]}; i += 2)); do
  pids=()
  for name in "${names[@]:i:2}"; do
    one "$name" & pids+=($!)
  done
  for pid in "${pids[@]}"; do
    if wait "$pid"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done
done
echo "fuzzing: $passed harnesses passed, $failed failed"
((failed == 0))
