#!/usr/bin/env python3
"""Writes everything the quickstart learns from: text about a tiny world, and its tokenizer.

    make_text.py tokenizer DIR            tokenizer.json, tokenizer_config.json
    make_text.py pretrain FILE [--documents N] [--seed S]
    make_text.py finetune TRAIN HELD_OUT  the same questions, answered in JSON

The base model is trained on plain sentences. The fine-tune asks about three things in four and
answers in JSON; the held-out file asks about the fourth, which the fine-tune never names: only the
base can know the value, only the adapter can know the form. Standard library only; the same
arguments give the same bytes.
"""
import argparse
import collections
import json
import os
import random
import re
import sys

sys.dont_write_bytecode = True  # leaves no folder beside the sources
import world

BOS, EOS = "<s>", "</s>"
VOCABULARY = 1024
# GPT-2's pre-tokenizer, for ASCII text.
PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def held_out_things():
    """Every fourth thing of the world; of opposites, every fourth pair."""
    things = list(dict.fromkeys(t for t, name, _ in world.facts() if name != "opposite"))
    pairs = [(t, v) for t, name, v in world.facts() if name == "opposite"][::2]
    return set(things[3::4]) | {"lemon"} | {word for pair in pairs[3::4] for word in pair}


def statement(rng, fact):
    thing, name, value = fact
    forms = list(world.PHRASES[name][0])
    if name != "opposite":
        forms.append(f'The {name} of "{{t}}" is "{{v}}".')
    else:
        forms.append('"{t}" is the opposite of "{v}".')
    return world.phrase(rng.choice(forms), thing, value)


def answer(fact):
    """How the base answers: with the plain sentence."""
    return world.phrase(world.PHRASES[fact[1]][0][0], fact[0], fact[2])


def question(rng, fact):
    return world.phrase(rng.choice(world.PHRASES[fact[1]][1]), fact[0], fact[2])


def documents(count, seed):
    """Half of them sentences, half questions: answered plainly or, when asked to, in one word."""
    rng = random.Random(seed)
    facts = world.facts()
    by_thing = collections.defaultdict(list)
    for fact in facts:
        by_thing[fact[0]].append(fact)
    things = list(by_thing)
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:  # all about one thing
            chosen = list(by_thing[rng.choice(things)])
            rng.shuffle(chosen)
            yield " ".join(statement(rng, fact) for fact in chosen)
        elif kind == 1:  # this and that
            yield " ".join(statement(rng, rng.choice(facts)) for _ in range(4))
        else:
            fact = rng.choice(facts)
            asked = question(rng, fact)
            if rng.randrange(3):
                yield f"Q: {asked}\nA: {answer(fact)}"
            else:
                yield f'Q: In one word: {asked}\nA: "{fact[2]}"'


def json_rows(seed):
    """Question and JSON answer for every fact and every form of its question: (train, held out)."""
    rng = random.Random(seed)
    hidden = held_out_things()
    train, held_out = [], []
    for thing, name, value in world.facts():
        for form in world.PHRASES[name][1]:
            asked = world.phrase(form, thing, value)
            reply = json.dumps({"answer": value})
            (held_out if thing in hidden else train).append({"text": f"Q: {asked}\nA: {reply}"})
    rng.shuffle(train)
    rng.shuffle(held_out)
    return train, held_out


def byte_symbols():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols, extra = {}, 0
    for byte in range(256):
        if byte in plain:
            symbols[byte] = chr(byte)
        else:
            symbols[byte] = chr(256 + extra)
            extra += 1
    return symbols


def train_bpe(texts, size):
    """Byte-pair merges by count (ties: the smaller pair), on pre-tokenized words."""
    symbols = byte_symbols()
    words = collections.Counter()
    for text in texts:
        for piece in PIECES.findall(text):
            words[tuple(symbols[b] for b in piece.encode())] += 1
    vocabulary = [BOS, EOS, *(symbols[b] for b in range(256))]
    merges = []
    while len(vocabulary) < size:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(list(best))
        vocabulary.append("".join(best))
        merged = collections.Counter()
        for word, count in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i:i + 2] == best:
                    out.append(word[i] + word[i + 1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += count
        words = merged
    return vocabulary, merges


def write_tokenizer(folder):
    vocabulary, merges = train_bpe(documents(4000, 1), VOCABULARY)
    special = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i, token in enumerate((BOS, EOS))]
    start = {"SpecialToken": {"id": BOS, "type_id": 0}}
    bytes_of = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": None, "pre_tokenizer": bytes_of,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [start, {"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {BOS: {"id": BOS, "ids": [0], "tokens": [BOS]}}},
        "decoder": bytes_of,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(vocabulary)}, "merges": merges}}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "clean_up_tokenization_spaces": False, "model_max_length": 512,
        "chat_template":
            "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
            "{{ 'Q: ' + message['content'] | trim + '\\n' }}"
            "{% elif message['role'] == 'assistant' %}"
            "{{ 'A: ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'A:' }}{% endif %}"}
    os.makedirs(folder, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            json.dump(content, out, ensure_ascii=False, indent=1 if name != "tokenizer.json" else None)
            out.write("\n")


def write_rows(path, rows):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("tokenizer").add_argument("folder")
    pretrain = what.add_parser("pretrain")
    pretrain.add_argument("file")
    pretrain.add_argument("--documents", type=int, default=30000)
    pretrain.add_argument("--seed", type=int, default=1)
    finetune = what.add_parser("finetune")
    finetune.add_argument("train")
    finetune.add_argument("held_out")
    options = parser.parse_args()
    if options.what == "tokenizer":
        write_tokenizer(options.folder)
    elif options.what == "pretrain":
        write_rows(options.file, ({"text": text} for text in documents(options.documents,
                                                                        options.seed)))
    else:
        train, held_out = json_rows(7)
        write_rows(options.train, train)
        write_rows(options.held_out, held_out)


if __name__ == "__main__":
    main()
