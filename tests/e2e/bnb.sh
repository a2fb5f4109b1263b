#!/usr/bin/env bash
# Quantized directories between nibble and transformers + bitsandbytes, both ways: the same logits.
# Needs a Python with torch, transformers and bitsandbytes, named by NIBBLE_PEERS_PYTHON; skipped
# aloud without one. bitsandbytes computes in training mode: its evaluation kernels for CPUs round
# scales to bf16 and inputs to fp16. Rows are whole blocks: elsewhere its CPU decoding is wrong.
set -u
nibble=${NIBBLE_BINARY:-build/release/nibble}
nibble=$(cd "$(dirname "$nibble")" && pwd)/$(basename "$nibble")
python=${NIBBLE_PEERS_PYTHON:-python3}
if ! "$python" -c 'import torch, transformers, bitsandbytes' >/dev/null 2>&1; then
  echo "skipped: bnb: no Python with torch, transformers and bitsandbytes (name one in NIBBLE_PEERS_PYTHON)"
  exit 0
fi
export TORCHDYNAMO_DISABLE=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cat > config.json <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 128,
 "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
 "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
 "initializer_range": 0.15}
J
cat > gpt2.json <<'J'
{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 128,
 "n_positions": 128, "vocab_size": 96, "layer_norm_epsilon": 1e-05, "activation_function": "gelu_new",
 "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32", "initializer_range": 0.15}
J
echo '[[1, 5, 6, 7, 9, 90, 33], [1, 9, 77]]' > ids.json
run() { "$@" >said 2>&1 || { echo "FAIL $*"; tail -5 said; exit 1; }; }
run "$nibble" bench make-model config.json base --seed 3
run "$nibble" bench make-model gpt2.json gpt2 --seed 4
run "$nibble" quantize base nf4 --type nf4
run "$nibble" quantize base nf4-plain --type nf4 --no-double --block 32
run "$nibble" quantize base fp4 --type fp4
run "$nibble" quantize base bf16-storage --type nf4 --storage bfloat16
run "$nibble" quantize base int8 --type int8
run "$nibble" quantize base skips --type nf4 --modules '[{match: model.layers.1.mlp.down_proj, type: none}]'
run "$nibble" quantize base head --type nf4 --modules '[{match: lm_head, type: nf4}]'
run "$nibble" quantize gpt2 gpt2-nf4 --type nf4
"$python" - theirs <<'P' >said 2>&1 || { echo "FAIL transformers quantizes"; tail -5 said; exit 1; }
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
for name, base, config in (("t-nf4", "base", dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
                           ("t-fp4", "base", dict(load_in_4bit=True, bnb_4bit_quant_storage=torch.float16)),
                           ("t-int8", "base", dict(load_in_8bit=True)),
                           ("t-gpt2", "gpt2", dict(load_in_4bit=True, bnb_4bit_quant_type="nf4"))):
    AutoModelForCausalLM.from_pretrained(base, quantization_config=BitsAndBytesConfig(**config), dtype=torch.float32,
                                         device_map="cpu").save_pretrained(name)
P
all="nf4 nf4-plain fp4 bf16-storage int8 skips head gpt2-nf4 t-nf4 t-fp4 t-int8 t-gpt2"
for q in $all; do
  # Decoded: what the codes mean, whatever a product does with its inputs.
  run "$nibble" quantize $q $q-back --to f32
  run "$nibble" logits $q-back --tokens ids.json --out $q.safetensors --dtype f32
done
for q in t-nf4 t-fp4 t-int8 t-gpt2; do run "$nibble" quantize $q $q-same --type "$(sed 's/.*-//; s/gpt2/nf4/' <<< $q)"; done
"$python" - $all <<'P' 2>errors
import json, sys, torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
ids = json.load(open("ids.json"))
for q in sys.argv[1:]:
    ours, worst = load_file(q + ".safetensors"), 0.0
    model = AutoModelForCausalLM.from_pretrained(q, dtype=torch.float32, device_map="cpu")
    for module in model.modules():
        if hasattr(module, "compute_dtype"): module.compute_dtype = torch.float32
        if isinstance(module, torch.nn.Dropout): module.p = 0.0
    model.train()
    with torch.no_grad():
        for i, row in enumerate(ids):
            theirs = model(torch.tensor([row])).logits[0].float()
            worst = max(worst, ((theirs - ours[f"logits.{i}"]).abs().max() / (theirs.max() - theirs.min())).item())
    print(("ok " if worst < 1e-4 else "FAIL ") + "transformers-agrees-on-" + q + f": {worst:.1e} of the range")
for q in ("t-nf4", "t-fp4", "t-int8", "t-gpt2"):
    a, b = load_file(q + "/model.safetensors"), load_file(q + "-same/model.safetensors")
    same = a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k].view(torch.uint8), b[k].view(torch.uint8)) for k in a)
    config = json.load(open(q + "/config.json")) == json.load(open(q + "-same/config.json"))
    print(("ok " if same and config else "FAIL ") + "saved-again-byte-for-byte-" + q)
P
code=$?
if ((code)); then echo "FAIL bnb: exit $code"; tail -5 errors; fi
