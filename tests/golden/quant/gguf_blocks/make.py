"""Blocks of GGUF types with the values gguf-py 0.19 gives them, and what it makes of given values.
usage: python make.py   (writes gguf_blocks.safetensors beside itself)"""
import os
import gguf
import numpy as np
from safetensors.numpy import save_file

r = np.random.default_rng(20261129)
Q, S = gguf.GGMLQuantizationType, gguf.GGML_QUANT_SIZES
t = {}
for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"):
    block, size = S[Q[kind]]
    count = 1 if block == 256 else 3
    while True:  # random bytes, every scale a finite number of ordinary size
        raw = r.integers(0, 256, (3, count * size), dtype=np.uint8)
        value = gguf.quants.dequantize(raw, Q[kind])
        if np.isfinite(value).all() and np.abs(value).max() < 1e5: break
    t[f"blocks.{kind.lower()}"], t[f"values.{kind.lower()}"] = raw, value
x = r.standard_normal((9, 64), dtype=np.float32)
x[1] *= 1e-3; x[2] = 0; x[3, 5] = -7; x[3, 6] = 7; x[4] = np.abs(x[4]); x[5] = -np.abs(x[5])
x[6] = np.repeat(np.float32(0.1), 64); x[7] = np.arange(64) % 16 - 7.5; x[8] *= 3000
t["x"] = x
for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
    t[f"encoded.{kind.lower()}"] = gguf.quants.quantize(x, Q[kind])
save_file(t, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf_blocks.safetensors"))
