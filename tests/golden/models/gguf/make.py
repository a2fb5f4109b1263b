"""A tiny Llama as GGUF files of gguf-py, with the logits transformers gives its dequantized weights.
usage: python make.py   (writes tiny-{F16,Q8_0,Q4_0}.gguf and golden.safetensors beside itself)"""
import os
import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
r = np.random.default_rng(7)
heads, kv, dim, hidden, inner, vocab, layers = 4, 2, 8, 32, 32, 40, 1
config = LlamaConfig(hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv, head_dim=dim,
                     intermediate_size=inner, num_hidden_layers=layers, vocab_size=vocab,
                     max_position_embeddings=64, rope_theta=5000.0, rms_norm_eps=1e-5)
model = LlamaForCausalLM(config).double()
Q = gguf.GGMLQuantizationType
names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}
weights = {k: r.standard_normal(v.shape, dtype=np.float32) * np.float32(0.2) + (1 if v.ndim == 1 else 0)
           for k, v in model.state_dict().items()}
ids = torch.tensor([r.integers(0, vocab, 11)])
out = {"input_ids": ids[0].numpy().astype(np.int32)}

def gguf_name(n):
    if n in whole: return whole[n]
    _, _, layer, rest = n.split(".", 3)
    return f"blk.{layer}.{names[rest[:-7]]}.weight"

def pairs(w, n):  # halves of a head → neighbours
    return np.ascontiguousarray(w.reshape(n, 2, w.shape[0] // n // 2, -1).swapaxes(1, 2).reshape(w.shape))

def halves(w, n):
    return np.ascontiguousarray(w.reshape(n, w.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(w.shape))

for kind in ("F16", "Q8_0", "Q4_0"):
    w = gguf.GGUFWriter(os.path.join(here, f"tiny-{kind}.gguf"), "llama")
    w.add_context_length(64); w.add_embedding_length(hidden); w.add_block_count(layers)
    w.add_feed_forward_length(inner); w.add_head_count(heads); w.add_head_count_kv(kv)
    w.add_key_length(dim); w.add_value_length(dim); w.add_rope_dimension_count(dim)
    w.add_rope_freq_base(5000.0); w.add_layer_norm_rms_eps(1e-5); w.add_vocab_size(vocab)
    w.add_tokenizer_model("llama"); w.add_tokenizer_pre("default")
    w.add_token_list(["<unk>", "<s>", "</s>", "\u2581"] + [chr(97 + i) for i in range(26)] +
                     [f"t{i}" for i in range(30, vocab)])
    w.add_token_scores([0.0] * 3 + [-float(i) for i in range(3, vocab)])
    w.add_token_types([2, 3, 3] + [1] * (vocab - 3)); w.add_bos_token_id(1); w.add_eos_token_id(2)
    state = {}
    for n, x in weights.items():
        turned = heads if "q_proj" in n else kv if "k_proj" in n else 0
        y = pairs(x, turned) if turned else x
        if y.ndim == 1: data, kind_of = y, None
        elif kind == "F16": data, kind_of = y.astype(np.float16), None
        else: data, kind_of = gguf.quants.quantize(y, Q[kind]), Q[kind]
        w.add_tensor(gguf_name(n), data, raw_dtype=kind_of)
        back = data.astype(np.float32) if kind_of is None else gguf.quants.dequantize(data, kind_of)
        back = back.reshape(x.shape)
        state[n] = torch.from_numpy(halves(back, turned) if turned else back).double()
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    model.load_state_dict(state)
    with torch.no_grad(): out[f"logits.{kind}"] = model(ids).logits[0].numpy().astype(np.float32)
save_file(out, os.path.join(here, "golden.safetensors"))
