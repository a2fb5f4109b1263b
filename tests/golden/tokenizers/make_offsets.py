"""Offsets of the configurations in components.json and models.json as the Hugging Face library
(tokenizers 0.23.3) gives them, for some of their texts.  usage: python make_offsets.py > offsets.json
"""
import json, os
from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))
out = []
for file in ("components.json", "models.json"):
    for case in json.load(open(os.path.join(here, file), encoding="utf-8")):
        tokenizer = Tokenizer.from_str(json.dumps(case["tokenizer"]))
        texts = [t for t in case["texts"] if t][:6] + ["Ünïcode ﬁne e\u0301 한국 👍🏽 end\n"]
        made = [tokenizer.encode(t) for t in texts]
        out.append({"file": file, "name": case["name"], "texts": texts, "ids": [e.ids for e in made],
                    "offsets": [e.offsets for e in made]})
print(json.dumps(out, separators=(",", ":"), ensure_ascii=True))
