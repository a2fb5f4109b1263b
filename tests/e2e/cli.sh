#!/usr/bin/env bash
# The commands as a user types them, on a tiny random model: train, resume after a kill, merge, score,
# inspect; and what bad input is told. Prints "ok NAME", "FAIL NAME" or "skipped: NAME: why".
set -u
nibble=${NIBBLE_BINARY:-build/release/nibble}
nibble=$(cd "$(dirname "$nibble")" && pwd)/$(basename "$nibble")
quickstart=$(cd "$(dirname "$0")/../../examples/quickstart/base" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

check() {  # NAME command…: ok when it succeeds
  local name=$1; shift
  if "$@" >"$work/said" 2>&1; then echo "ok $name"; else echo "FAIL $name"; tail -5 "$work/said"; fi
}
exits() {  # NAME code pattern command…: the exit code, and a line of standard error
  local name=$1 want=$2 pattern=$3 code; shift 3
  "$@" >"$work/stdout" 2>"$work/err"; code=$?
  if ((code == want)) && grep -q -- "$pattern" "$work/err"; then echo "ok $name"
  else echo "FAIL $name: exit $code, wanted $want and '$pattern'"; head -5 "$work/err"; fi
}

# The page of models is what the program knows.
page=$OLDPWD/docs/models.md
sed -n '/<!-- families -->/,/<!-- \/families -->/p' "$page" | sed '1d;$d' > page.txt
"$nibble" ls families --markdown > known.txt
check docs-models-match cmp page.txt known.txt
page=$OLDPWD/docs/optimizers.md
sed -n '/<!-- optimizers -->/,/<!-- \/optimizers -->/p' "$page" | sed '1d;$d' > page.txt
"$nibble" ls optimizers --markdown > known.txt
check docs-optimizers-match cmp page.txt known.txt
exits unknown-family 65 "nearest supported family is 'qwen3'" "$nibble" inspect "$(mkdir -p moe &&
  echo '{"model_type": "qwen3_moe"}' > moe/config.json && echo moe)"

cat > config.json <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
 "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
 "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
 "initializer_range": 0.1}
J
python3 - <<'P'
import json, random
random.seed(1)
with open("rows.jsonl", "w") as f:
    for i in range(40):
        start, step = random.randrange(3, 60), random.randrange(1, 4)
        f.write(json.dumps({"input_ids": [1] + [start + step * k for k in range(12)]}) + "\n")
json.dump([[1, 5, 6, 7], [1, 9]], open("ids.json", "w"))
P
cat > recipe.yaml <<'Y'
base_model: base
adapter: qlora
datasets: [{path: rows.jsonl, type: tokens}]
val_set_size: 0.1
lora_r: 4
lora_alpha: 8
micro_batch_size: 4
learning_rate: 2e-3
num_epochs: 4
save_steps: 5
output_dir: out
Y

# Templates: exact bytes, the place of a mistake, nothing on standard output when one is found.
printf '%s' '[{"role": "user", "content": "hi \u00e9 {{ x }}"}]' > m.json
printf '%s' '{"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "f"}]}' > tools.json
printf '{%% for m in messages %%}\n{{ m.role }}: {{ m.content }}{%% endfor %%}{{ bos_token }}\n' > t.jinja
printf 'a\n{%% if x %%}' > open.jinja
printf '{%% for i in range(99999) %%}{%% for j in range(99999) %%}{%% endfor %%}{%% endfor %%}' > forever.jinja
mkdir named; printf '%s' '{"bos_token": "<s>", "chat_template": [{"name": "default", "template": "{{ bos_token }}d"},
  {"name": "tool_use", "template": "t{{ tools[0].name }}"}]}' > named/tokenizer_config.json
prints() {  # NAME text command…: standard output, byte for byte
  local name=$1 want=$2; shift 2
  "$@" >"$work/stdout" 2>"$work/err"
  if [[ "$(cat "$work/stdout"; echo .)" == "$want." ]]; then echo "ok $name"
  else echo "FAIL $name"; head -5 "$work/stdout" "$work/err"; fi
}
refuses() {  # NAME code pattern command…: as exits, and standard output stays empty
  exits "$@"
  if [[ -s "$work/stdout" ]]; then echo "FAIL $1: wrote to standard output"; fi
}
prints template-of-a-file "$(printf 'user: hi é {{ x }}')" "$nibble" template t.jinja --messages m.json
prints template-of-a-model "<s>d" "$nibble" template named --messages m.json
prints template-for-tools "tf" "$nibble" template named --messages tools.json
prints template-by-name "<s>d" "$nibble" template named --messages tools.json --template default
# A GGUF file is a model like any other: the same template, ids and text.
quick=${page%/docs/*}/examples/quickstart/base
check convert-to-gguf "$nibble" convert "$quick" quick.gguf
same() {  # NAME words…: the command says of both what it says of one; @ stands for the model
  local name=$1; shift
  "$nibble" "${@//@/$quick}" >one.txt 2>&1; "$nibble" "${@//@/quick.gguf}" >two.txt 2>&1
  check "$name" cmp one.txt two.txt
}
same template-of-a-gguf template @ --messages m.json
same tokens-of-a-gguf tokenize @ --text 'A lemon.' --json
same text-of-a-gguf generate @ --prompt 'Q: Hi' --max-tokens 5 --dtype f32
check convert-to-hf "$nibble" convert quick.gguf quick-hf
refuses template-does-not-parse 65 'open.jinja:2:11: ' "$nibble" template open.jinja --messages m.json
refuses template-never-ends 65 'forever.jinja:1:[0-9]*: the template takes more than' "$nibble" template forever.jinja --messages m.json
refuses template-is-missing 66 'no.jinja: there is no such file' "$nibble" template no.jinja --messages m.json
refuses template-without-messages 65 'holds no list of messages' "$nibble" template t.jinja --messages config.json

# A template of the user's own goes with the weights that learned it.
printf '%s' '{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}' > own.jinja
printf '%s\n' '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}' > chat.jsonl
cat > chat.yaml <<Y
base_model: $quickstart
adapter: lora
datasets: [{path: chat.jsonl, type: chat_template}]
chat_template: jinja
chat_template_jinja: own.jinja
lora_r: 2
max_steps: 1
output_dir: chat-out
Y
check train-with-own-template "$nibble" train chat.yaml
check own-template-is-saved cmp own.jinja chat-out/chat_template.jinja
prints own-template-of-an-adapter "$(printf '<user>hi é {{ x }}</s>')" "$nibble" template chat-out --messages m.json
check merge-with-own-template "$nibble" merge "$quickstart" chat-out chat-merged
check own-template-is-merged cmp own.jinja chat-merged/chat_template.jinja
exits template-of-a-recipe-is-missing 66 "'nowhere' is neither" "$nibble" train chat.yaml output_dir=x chat_template_jinja=nowhere

check make-model "$nibble" bench make-model config.json base --seed 3
mkdir tokenizer && python3 - > tokenizer/tokenizer.json <<'P'
import json
alphabet = [b for b in range(33, 127)] + [b for b in range(161, 173)] + [b for b in range(174, 256)]
alphabet += [256 + n for n in range(256 - len(alphabet))]
print(json.dumps({"model": {"type": "BPE", "vocab": {chr(c): i for i, c in enumerate(alphabet)}, "merges": []},
                  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"}}))
P
printf 'one\ntwo\n' > text.txt
check bench-tokenize bash -c '"$0" bench tokenize tokenizer --file text.txt --threads 2 --ids ids.bin --json >speed.json' "$nibble"
check bench-tokenize-writes-ids python3 - <<'P'
import array, json
assert json.load(open("speed.json"))["tokens"] == 8
ids = array.array("i"); ids.frombytes(open("ids.bin", "rb").read())
assert [ids[i] for i in (0, 1, 2)] == [ord(c) - 33 for c in "one"] and len(ids) == 8 and ids[3] == ids[7]
P
python3 - <<'P'
import json, math, struct
values = [math.sin(i * i) for i in range(192)]
header = json.dumps({"w": {"dtype": "F32", "shape": [2, 96], "data_offsets": [0, 768]}}).encode()
open("w.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + struct.pack("<192f", *values))
P
check bench-quant bash -c '"$0" bench quant --type nf4 --threads 1 --repeat 1 --mebibytes 1 --json >quant.json' "$nibble"
check bench-quant-of-a-file "$nibble" bench quant --type nf4 --repeat 1 --input w.safetensors --output coded.safetensors
check bench-optim "$nibble" bench optim --rule lion --elements 10000 --seconds 0.05 --threads 1 --json
check bench-quant-measures-and-writes python3 - <<'P'
import json, math, struct
speed = json.load(open("quant.json"))
assert speed["machine"]["copy_bytes_per_s"] > 0 and speed["machine"]["fma_flops_per_s"] > 0
assert len(speed["runs"]) == 2 and all(r["dequantize_weights_per_s"] > 0 for r in speed["runs"])
data = open("coded.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
def part(name, kind):
    begin, end = header[name]["data_offsets"]
    body = data[8 + size + begin:8 + size + end]
    return struct.unpack(f"<{len(body) // struct.calcsize(kind)}{kind}", body)
values = [struct.unpack("<f", struct.pack("<f", math.sin(i * i)))[0] for i in range(192)]
assert len(part("w.codes", "B")) == 96
assert list(part("w.absmax", "f")) == [max(map(abs, values[b:b + 64])) for b in (0, 64, 128)]
decoded = part("w.decoded", "f")
assert max(abs(a - b) for a, b in zip(values, decoded)) < 0.16
P
exits bench-quant-of-what 2 "'af4'" "$nibble" bench quant --type af4
check train "$nibble" train recipe.yaml
check metrics-have-every-field python3 - <<'P'
import json
rows = [json.loads(l) for l in open("out/metrics.jsonl")]
steps = [r for r in rows if "loss" in r]
want = {"step", "epoch", "loss", "grad_norm", "learning_rate", "tokens", "tokens_per_second", "peak_bytes"}
assert len(steps) == 36 and all(want <= set(r) for r in steps), steps[:1]
assert steps[-1]["loss"] < steps[0]["loss"]
assert any("eval_loss" in r for r in rows)
P
check output-files test -s out/adapter_model.safetensors -a -s out/adapter_config.json -a -s out/recipe.yaml -a -d out/checkpoint-35
check the-resolved-recipe-trains "$nibble" train out/recipe.yaml output_dir=again
check the-resolved-recipe-gives-the-same-bytes cmp out/adapter_model.safetensors again/adapter_model.safetensors
exits a-run-is-not-overwritten 73 'holds a run already' "$nibble" train recipe.yaml
check a-finished-run-is-left-alone "$nibble" train recipe.yaml resume_from_checkpoint=auto

# Killed at random instants, a run goes on from its last checkpoint and ends with the same bytes.
same=1
for ((k = 0; k < 6; ++k)); do
  rm -rf killed
  for ((i = 0; i < 3; ++i)); do
    "$nibble" train recipe.yaml output_dir=killed resume_from_checkpoint=auto save_steps=1 >/dev/null 2>&1 &
    sleep "0.$((RANDOM % 3))$((RANDOM % 10))"; kill -9 $! 2>/dev/null; wait $! 2>/dev/null
  done
  "$nibble" train recipe.yaml output_dir=killed resume_from_checkpoint=auto save_steps=1 >"$work/said" 2>&1 || same=0
  cmp -s out/adapter_model.safetensors killed/adapter_model.safetensors || same=0
done
((same)) && echo "ok killed-runs-end-with-the-same-bytes" || { echo "FAIL killed-runs-end-with-the-same-bytes"; tail -5 "$work/said"; }

"$nibble" train recipe.yaml output_dir=stopped num_epochs=20000 >/dev/null 2>"$work/err" &
pid=$!; sleep 0.7; kill -TERM $pid; wait $pid; code=$?
if ((code == 75)) && ls -d stopped/checkpoint-* >/dev/null 2>&1; then echo "ok sigterm-saves-and-exits-75"
else echo "FAIL sigterm-saves-and-exits-75: exit $code"; tail -3 "$work/err"; fi

check merge "$nibble" merge base out merged --dtype f32 --text rows.jsonl --json
check merged-equals-adapter-on-top python3 - "$nibble" <<'P'
import json, subprocess, sys
def ids(*words):
    return json.loads(subprocess.check_output([sys.argv[1], "generate", *words, "--tokens", "ids.json",
                                               "--max-tokens", "12", "--dtype", "f32", "--json"]))["ids"]
a, b = ids("merged"), ids("base", "--adapter", "out", "--quant", "nf4")
assert a == b and len(a[0]) == 12, (a, b)
P
check quantize sh -c '"$0" quantize base base-nf4 --type nf4 --csv report.csv --json > quantized.json' "$nibble"
check quantize-reports-every-matrix python3 - <<'P'
import csv, json
said = json.load(open("quantized.json"))["matrices"]
rows = list(csv.DictReader(open("report.csv")))
assert len(said) == len(rows) == 14, len(said)
for one, row in zip(said, rows):
    assert one["name"] == row["name"] and one["type"] == "nf4"
    assert 0.05 < one["relative_error"] < 0.15 and 16 < one["snr_db"] < 26, one
    assert 4.1 < one["bits_per_weight"] < 5, one
P
check inspect-quantized "$nibble" inspect base-nf4 --against base --json
check quantized-equals-quantizing-while-loading python3 - "$nibble" <<'P'
import json, subprocess, sys
def ids(*words):
    return json.loads(subprocess.check_output([sys.argv[1], "generate", *words, "--tokens", "ids.json",
                                               "--max-tokens", "12", "--dtype", "f32", "--json"]))["ids"]
assert ids("base-nf4") == ids("base", "--quant", "nf4")
P
check quantize-and-back "$nibble" quantize base-nf4 base-back --to f32
"$nibble" logits base-nf4 --tokens ids.json --out q.safetensors --dtype f32 >/dev/null 2>&1
"$nibble" logits base-back --tokens ids.json --out b.safetensors --dtype f32 >/dev/null 2>&1
check decoded-equals-quantized cmp q.safetensors b.safetensors
check quantize-again-copies "$nibble" quantize base-nf4 base-same --type nf4
exits codes-of-codes-are-refused 65 'is nf4 already and int8' "$nibble" quantize base-nf4 x --type int8
exits a-rule-that-matches-nothing 2 "matches no module" "$nibble" quantize base x --type nf4 --modules '[{match: down_prj, type: int8}]'
check train-on-mixed-formats "$nibble" train recipe.yaml output_dir=mixed 'quant.modules=[{match: down_proj, type: int8}, {match: lm_head, type: fp4}, {match: embed_tokens, type: int8}]' max_steps=3
check train-on-int8 "$nibble" train recipe.yaml output_dir=eight adapter=lora load_in_8bit=true max_steps=3
check train-on-a-quantized-base "$nibble" train recipe.yaml base_model=base-nf4 output_dir=on-nf4 max_steps=3
check merge-of-mixed-formats sh -c '"$0" merge base mixed merged-mixed --dtype f32 --text rows.jsonl --json > mixed.json' "$nibble"
check merged-mixed-equals-trained python3 -c 'import json; assert json.load(open("mixed.json"))["drift"]["max_abs_logit"] < 1e-3'
check merge-requant "$nibble" merge base out merged-nf4 --mode requant --min-survival 0.2 --json
check serve-the-requantized "$nibble" generate merged-nf4 --tokens ids.json --max-tokens 3
exits too-little-survives 1 'survives, less than' "$nibble" merge base-nf4 on-nf4 x --mode requant --min-survival 0.9
exits merge-into-live-codes-is-refused 2 'refused' "$nibble" merge base out m2 --dtype nf4
exits merge-does-not-overwrite 73 'exists' "$nibble" merge base out merged
check perplexity "$nibble" eval perplexity merged --file rows.jsonl --json
check inspect "$nibble" inspect out/checkpoint-35 --json
check inspect-recipe "$nibble" inspect recipe.yaml --rows 2
check doctor "$nibble" doctor --json

printf 'base_model: base\nadapter: qlora\nlearning_rat: 1\nlora_r: 0\ndatasets: [{path: rows.jsonl}]\noutput_dir: o\n' > bad.yaml
exits two-mistakes-in-one-run 2 '2 mistakes, nothing was started' "$nibble" train bad.yaml
exits mistakes-have-places 2 'bad.yaml:3:1' "$nibble" train bad.yaml
exits unknown-command 2 "did you mean 'train'" "$nibble" tran
exits unknown-option 2 "unknown option" "$nibble" eval perplexity base --fil x
exits missing-model 66 'no such model directory' "$nibble" eval perplexity ./nowhere --file rows.jsonl
printf '{"input_ids": [1, 5, 900]}\n' > far.jsonl
exits an-id-beyond-the-vocabulary 65 'far.jsonl:1' "$nibble" train recipe.yaml output_dir=o2 'datasets=[{path: far.jsonl}]'
cp -r base broken; head -c 3000 base/model.safetensors > broken/model.safetensors
exits a-truncated-file 65 'model.safetensors' "$nibble" logits broken --tokens ids.json --out x.safetensors
cp -r base wide; printf '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 500}, "merges": []}, "added_tokens": []}' > wide/tokenizer.json
exits a-tokenizer-wider-than-the-vocabulary 65 'ids up to 500' "$nibble" generate wide --prompt a --max-tokens 2
exits a-forced-tier-that-is-none 2 'NIBBLE_CPU' env NIBBLE_CPU=best "$nibble" doctor
for tier in scalar avx2 avx512; do
  if NIBBLE_CPU=$tier "$nibble" doctor >/dev/null 2>&1; then
    check "tier-$tier" env NIBBLE_CPU=$tier "$nibble" logits merged --tokens ids.json --out "$tier.safetensors"
  else echo "skipped: tier-$tier: this CPU lacks it"; fi
done
