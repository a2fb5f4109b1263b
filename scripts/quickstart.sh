#!/usr/bin/env bash
# From a fresh machine to a fine-tuned, merged and served model: installs what is missing, builds,
# and does the main job once, on a small base model that comes with the source.
#   scripts/quickstart.sh                on examples/quickstart/base
#   scripts/quickstart.sh MODEL_DIR      on your own Hugging Face directory
set -euo pipefail

say() { printf '%-9s %s\n' "$1" "$2"; }
fail() { printf 'quickstart: %s\n' "$1" >&2; exit 1; }

(($# <= 1)) || fail "one MODEL_DIR at most; usage: scripts/quickstart.sh [MODEL_DIR]"
own=${1:-}
if [[ $own == -h || $own == --help ]]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0"
  exit 0
fi
if [[ -n $own ]]; then
  [[ -e $own/config.json ]] || fail "$own has no config.json; name a Hugging Face directory"
  own=$(cd "$own" && pwd)
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

# 1. Packages ------------------------------------------------------------------------------------
scripts/install_packages.sh

# 2. The program ---------------------------------------------------------------------------------
nibble=build/release/nibble
mkdir -p build/release
cmake --preset release >build/release/configure.log 2>&1 ||
  { tail -20 build/release/configure.log >&2; fail "configuring failed"; }
began=$SECONDS
shown=0
# Ninja says [done/all] a line; one in each tenth is told.
cmake --build --preset release --target nibble 2>&1 | tee build/release/build.log |
  while IFS= read -r line; do
    [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
    part=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    ((BASH_REMATCH[2] > 20 && part > shown && part < 10)) || continue
    shown=$part
    say build "$((part * 10)) %  $((SECONDS - began)) s"
  done || { grep -v '^\[' build/release/build.log | tail -30 >&2; fail "the build failed"; }
say build "$nibble  $((SECONDS - began)) s, all cores, ccache"
say "" "$("$nibble" --version)"

# 3. The main job --------------------------------------------------------------------------------
here=examples/quickstart
question='What colour is a lemon?'
prompt=$'Q: What colour is a lemon?\nA:'
words=24
if [[ -z $own ]]; then
  base=$here/base
  out=out/quickstart
  settings=()
  held=$here/held-out.jsonl
else
  base=$own
  out=out/quickstart-$(basename "$own" | tr -c 'A-Za-z0-9._\n-' '_')
  # A large model on a small machine: fewer and shorter steps, at a rate that large models bear.
  settings=(max_steps=20 sequence_len=64 learning_rate=1e-3 gradient_checkpointing=every_layer)
  held=$out/held-out.jsonl
fi
rm -rf "$out"
mkdir -p "$out"
if [[ -n $own ]]; then head -32 $here/held-out.jsonl >"$held"; fi
settings+=("base_model=$base" "output_dir=$out/adapter")
settings+=("test_datasets=[]")  # measured before and after, below, in the same way

server=
trap '[[ -z $server ]] || kill -TERM "$server" 2>/dev/null || true' EXIT

# What a command says on standard error is kept, and shown when it fails.
quiet() {
  "$@" 2>>"$out/log.txt" || { tail -15 "$out/log.txt" >&2; return 1; }
}
first_line() {
  awk 'NF && !seen { sub(/^[ \t]+/, ""); print; seen = 1 } END { if (!seen) print "(nothing)" }'
}
measure() {  # MODEL [flags] → "5.234 nat a token (perplexity 187.50)"
  local score
  score=$(quiet "$nibble" eval perplexity "$@" --file "$held" --json) || return 1
  python3 -c 'import json, sys
r = json.loads(sys.argv[1])
print("%.3f nat a token (perplexity %.2f)" % (r["nll"], r["ppl"]))' "$score"
}
ask() { quiet "$nibble" generate "$@" --prompt "$prompt" --max-tokens "$words" | first_line; }
# Lines folded to 80 columns at a comma or a space, continued under their text; no "next" rows.
narrow() {
  awk '/^next/ { next }
       { while (length($0) > 80) {
           for (i = 80; i > 20 && !(substr($0, i, 1) == " " && substr($0, i - 1, 1) ~ /[, ]/); --i);
           if (i == 20) break
           line = substr($0, 1, i); sub(/ +$/, "", line); print line
           $0 = "          " substr($0, i + 1)
         }
         print; fflush() }'
}
train() {
  if [[ -t 2 && -n $own ]]; then
    "$nibble" train "$@"  # long enough that its own progress line is worth seeing
  else
    "$nibble" train "$@" 2>&1 | narrow
  fi
}
show() {  # when, loss, answer
  say "$1" "held-out loss $2"
  say "" "Q: $question"
  say "" "A: $3"
}

echo
loss=$(measure "$base" --quant nf4)
answer=$(ask "$base" --quant nf4)
show before "$loss" "$answer"
echo
train $here/finetune.yaml "${settings[@]}"
echo
loss=$(measure "$base" --quant nf4 --adapter "$out/adapter")
answer=$(ask "$base" --quant nf4 --adapter "$out/adapter")
show after "$loss" "$answer"
echo
"$nibble" merge "$base" "$out/adapter" "$out/merged" | narrow

: >"$out/serve.log"  # there before the server is
"$nibble" serve "$out/merged" --port 0 2>>"$out/serve.log" &
server=$!
for ((i = 0; i < 600; ++i)); do
  url=$(sed -n 's/^listening on \(http:[^ ]*\).*/\1/p' "$out/serve.log")
  [[ -z $url ]] || break
  kill -0 "$server" 2>/dev/null || { cat "$out/serve.log" >&2; fail "the server did not start"; }
  sleep 0.1
done
[[ -n $url ]] || fail "the server said no address within a minute; see $out/serve.log"
name=$(curl -sS --fail "$url/v1/models" | python3 -c 'import json, sys
print(json.load(sys.stdin)["data"][0]["id"])')
body=$(python3 -c 'import json, sys
print(json.dumps({"model": sys.argv[1], "prompt": sys.argv[2], "max_tokens": int(sys.argv[3]),
                  "temperature": 0}))' "$name" "$prompt" "$words")
reply=$(curl -sS --fail "$url/v1/completions" -H 'Content-Type: application/json' -d "$body")
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
((code == 0)) || fail "the server ended with exit $code after SIGTERM; see $out/serve.log"
say serve "$url, merged model, the same question over HTTP"
answer=$(python3 -c 'import json, sys
print(json.loads(sys.argv[1])["choices"][0]["text"])' "$reply" | first_line)
say "" "A: $answer"
say "" "stopped by SIGTERM: drained, exit 0"
echo

python3 - "$out" <<'PY'
import json, os, statistics, sys
out = sys.argv[1]
rows = [json.loads(line) for line in open(os.path.join(out, "adapter", "metrics.jsonl"))]
steps = [row for row in rows if "loss" in row]
rate = statistics.median(row["tokens_per_second"] for row in steps)
peak = max(row["peak_bytes"] for row in steps)
print(f"{'speed':9} {rate:,.0f} tokens/s in training (median of {len(steps)} steps)")
print(f"{'memory':9} {peak / 2**20:,.0f} MiB at the peak of training")
label = "files"
for folder in ("adapter", "merged"):
    for name in sorted(os.listdir(os.path.join(out, folder))):
        path = os.path.join(out, folder, name)
        if os.path.isfile(path):
            print(f"{label:9} {os.path.getsize(path) / 1024:9,.1f} KiB  {path}")
            label = ""
PY
echo
say next "$nibble chat $out/merged"
say "" "$nibble serve $(printf %q "$base") \\"
say "" "    --quant nf4 --adapter json=$out/adapter"
say "" "$nibble inspect $out/adapter"
