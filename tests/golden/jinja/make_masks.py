#!/usr/bin/env python3
"""Which tokens transformers says the assistant wrote, for templates with generation marks:
    python3 tests/golden/jinja/make_masks.py        (transformers 5; writes masks.json beside it)
The tokenizer is the one of examples/quickstart/base."""
import json
import os

import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.join(HERE, "..", "..", "..", "examples", "quickstart", "base")

TEMPLATES = {
    "turns": "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}"
             "{{ eos_token }}{% endgeneration %}\n{% else %}Q: {{ m.content }}\n{% endif %}{% endfor %}",
    "edges inside tokens": "{% for m in messages %}{{ m.role[0] }}{% if m.role == 'assistant' %}"
                           "{%- generation %}{{ m.content }}{% endgeneration %}ly\n{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "space before": "{% for m in messages %}{% if m.role == 'assistant' %} {% generation %}{{ m.content }}{% endgeneration %}"
                    "{% else %}{{ m.content }}{% endif %} {% endfor %}",
    "only the last": "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' and loop.last %}"
                     "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}",
}
TALKS = [
    ["What is two and two?", "It is four.", "And three?", "Seven, I hope."],
    ["Grüße, 世界 🤗", "Ça va: é 世界."],
    ["the friend", "slow", "the other", "quick"],
    ["a\n", "\nb\n\n", " c ", " d "],
    ["empty", "", "then", "word"],
]


def main():
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=os.path.join(BASE, "tokenizer.json"), bos_token="<s>", eos_token="</s>")
    cases = []
    for name, template in TEMPLATES.items():
        for talk in TALKS:
            # An empty span inside a token: transformers counts that token, nobody said it.
            if "" in talk and name == "edges inside tokens":
                continue
            messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(talk)]
            out = tokenizer.apply_chat_template(messages, chat_template=template, return_dict=True,
                                                return_assistant_tokens_mask=True)
            mask = out["assistant_masks"]
            cases.append({"name": name, "template": template, "messages": messages,
                          "ids": out["input_ids"], "learn": [i for i, m in enumerate(mask) if m]})
    with open(os.path.join(HERE, "masks.json"), "w", encoding="utf-8") as file:
        json.dump({"made_by": f"make_masks.py, transformers {transformers.__version__}", "cases": cases},
                  file, ensure_ascii=True, indent=0, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
