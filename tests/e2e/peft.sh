#!/usr/bin/env bash
# What nibble writes, read by transformers and PEFT: the same logits. Needs a Python with torch,
# transformers and peft, named by NIBBLE_PEERS_PYTHON; skipped aloud without one.
set -u
nibble=${NIBBLE_BINARY:-build/release/nibble}
nibble=$(cd "$(dirname "$nibble")" && pwd)/$(basename "$nibble")
python=${NIBBLE_PEERS_PYTHON:-python3}
if ! "$python" -c 'import torch, transformers, peft' >/dev/null 2>&1; then
  echo "skipped: peft: no Python with torch, transformers and peft (name one in NIBBLE_PEERS_PYTHON)"
  exit 0
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cat > config.json <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 112,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "vocab_size": 128,
 "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
 "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
 "initializer_range": 0.15}
J
python3 - <<'P'
import json, random
random.seed(1)
with open("rows.jsonl", "w") as f:
    for i in range(24):
        start, step = random.randrange(3, 60), random.randrange(1, 4)
        f.write(json.dumps({"input_ids": [1] + [start + step * k for k in range(12)]}) + "\n")
json.dump([[1, 5, 6, 7, 9, 100, 33], [1, 9, 77]], open("ids.json", "w"))
P
run() { "$@" >said 2>&1 || { echo "FAIL $*"; tail -5 said; exit 1; }; }
run "$nibble" bench make-model config.json base --seed 3
recipe='base_model: base\ndatasets: [{path: rows.jsonl, type: tokens}]\nlearning_rate: 2e-2\nlora_r: 4\nmax_steps: 8\n'
for kind in lora qlora; do
  for rs in false true; do
    printf "$recipe" > "$kind.yaml"
    run "$nibble" train "$kind.yaml" "adapter=$kind" "use_rslora=$rs" "output_dir=$kind-$rs"
  done
done
run "$nibble" train lora.yaml adapter=lora 'lora_target_modules=[q_proj, v_proj, mlp.down_proj]' output_dir=lora-some
printf 'base_model: base\nadapter: full\ndatasets: [{path: rows.jsonl, type: tokens}]\nlearning_rate: 1e-3\nmax_steps: 8\noutput_dir: full\n' > full.yaml
run "$nibble" train full.yaml
for a in lora-false lora-true lora-some; do
  run "$nibble" logits base --adapter $a --tokens ids.json --out $a.safetensors --dtype f32
  run "$nibble" merge base $a merged-$a --dtype f32
done
run "$nibble" merge base qlora-false merged-qlora --dtype f32
run "$nibble" logits base --quant nf4 --adapter qlora-false --tokens ids.json --out qlora.safetensors --dtype f32
run "$nibble" logits full --tokens ids.json --out full.safetensors --dtype f32
"$python" - <<'P' 2>errors
import json, torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
ids = json.load(open("ids.json"))
def compare(name, model, file):
    ours, worst = load_file(file), 0.0
    with torch.no_grad():
        for i, row in enumerate(ids):
            theirs = model(torch.tensor([row])).logits[0].float()
            worst = max(worst, ((theirs - ours[f"logits.{i}"]).abs().max() / (theirs.max() - theirs.min())).item())
    print(("ok " if worst < 1e-4 else "FAIL ") + name + ("" if worst < 1e-4 else f": {worst} of the range"))
def base(path): return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
for a in ("lora-false", "lora-true", "lora-some"):
    compare("peft-reads-" + a, PeftModel.from_pretrained(base("base"), a).eval(), a + ".safetensors")
    compare("transformers-reads-merged-" + a, base("merged-" + a), a + ".safetensors")
compare("transformers-reads-the-merged-qlora", base("merged-qlora"), "qlora.safetensors")
compare("transformers-reads-full", base("full"), "full.safetensors")
P
code=$?
if ((code)); then echo "FAIL peft: exit $code"; tail -5 errors; fi
