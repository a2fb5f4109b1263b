#!/usr/bin/env python3
"""Writes a tokenizer.json as large as the largest published ones, to measure loading.

  NIBBLE_TEST_DATA=... python3 synthetic.py 256000 500000 out/     (tokens, merges)

Qwen's vocabulary and merges, then tokens that join two earlier ones, each with as many merges as
asked for.
"""
import json
import os
import random
import sys

tokens, wanted, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
folder = os.path.join(os.environ["NIBBLE_TEST_DATA"], "data", "tokenizers", "qwen2.5")
vocab = dict(sorted(json.load(open(os.path.join(folder, "vocab.json"), encoding="utf-8")).items(), key=lambda e: e[1])[:tokens])
merges = [m.split(" ") for m in open(os.path.join(folder, "merges.txt"), encoding="utf-8").read().split("\n") if m and not m.startswith("#version")]
merges = [m for m in merges if m[0] in vocab and m[1] in vocab and m[0] + m[1] in vocab]
seen = {tuple(m) for m in merges}
rng = random.Random(0)
known = list(vocab)
while len(vocab) < tokens:
    a, b = rng.choice(known), rng.choice(known[:5000])
    if a + b in vocab or len(a + b) > 24: continue
    vocab[a + b] = len(vocab)
    merges.append([a, b])
    seen.add((a, b))
for token in sorted(vocab, key=len, reverse=True):
    for at in range(1, len(token)):
        pair = (token[:at], token[at:])
        if len(merges) < wanted and pair not in seen and pair[0] in vocab and pair[1] in vocab:
            merges.append(list(pair))
            seen.add(pair)
os.makedirs(out, exist_ok=True)
json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
           "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}, "post_processor": None,
           "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
           "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                     "fuse_unk": False, "byte_fallback": False, "ignore_merges": True, "vocab": vocab, "merges": merges}},
          open(os.path.join(out, "tokenizer.json"), "w", encoding="utf-8"), ensure_ascii=False, indent=2)
print(len(vocab), "tokens", len(merges), "merges")
