#!/usr/bin/env python3
"""Every Unicode character through every component that asks what kind of character it is.

  characters.py NIBBLE FOLDER [--only NAME]

The model spells bytes, so that ids show what a normalizer wrote and, by an end mark, where a
pre-tokenizer cut. Each line holds one character in four surroundings.
"""
import argparse
import json
import os
import sys

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

from compare import Side, report


def spelling(pre, normalizer, marks):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    if marks:
        vocab.update({c + "</w>": 256 + i for i, c in enumerate(alphabet)})
    d = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
         "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
         "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                   "end_of_word_suffix": "</w>" if marks else None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                   "vocab": vocab, "merges": []}}
    t = Tokenizer.from_str(json.dumps(d))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.pre_tokenizer = last if pre is None else pre_tokenizers.Sequence([pre, last])
    if normalizer is not None:
        t.normalizer = normalizer
    return t


def components():
    n, p = normalizers, pre_tokenizers
    bert = lambda **k: n.BertNormalizer(**{**dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), **k})
    for name, normalizer in (("NFC", n.NFC()), ("NFD", n.NFD()), ("NFKC", n.NFKC()), ("NFKD", n.NFKD()), ("Lowercase", n.Lowercase()),
                             ("Strip", n.Strip()), ("StripAccents", n.StripAccents()), ("Nmt", n.Nmt()), ("bert clean", bert(clean_text=True)),
                             ("bert chinese", bert(handle_chinese_chars=True)), ("bert accents", bert(strip_accents=True)), ("bert lower", bert(lowercase=True)),
                             ("replace \\s", n.Replace(Regex(r"\s"), "_")), ("replace \\w", n.Replace(Regex(r"\w"), "_")),
                             ("replace \\d", n.Replace(Regex(r"\d"), "_"))):
        yield name, spelling(None, normalizer, False)
    split = lambda r: p.Split(Regex(r), "isolated")
    for name, pre in (("Whitespace", p.Whitespace()), ("WhitespaceSplit", p.WhitespaceSplit()), ("Punctuation", p.Punctuation()), ("Bert", p.BertPreTokenizer()),
                      ("Digits", p.Digits(True)), ("UnicodeScripts", p.UnicodeScripts()), ("Metaspace", p.Metaspace()), ("gpt2", p.ByteLevel(add_prefix_space=False)),
                      ("\\p{L}", split(r"\p{L}")), ("\\p{N}", split(r"\p{N}")), ("\\p{M}", split(r"\p{M}")), ("\\p{Lu}", split(r"\p{Lu}|\p{Lt}")),
                      ("\\p{Ll}", split(r"\p{Ll}|\p{Lm}")), ("\\p{P}", split(r"\p{P}")), ("\\p{S}", split(r"\p{S}")), ("(?i)", split(r"(?i:'s|'t|k)"))):
        yield "cut " + name, spelling(pre, None, True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nibble")
    parser.add_argument("folder")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    side = Side(options.nibble, options.folder)
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c != 10 and not (0x20000 <= c < 0x110000 and c % 16)]
    lines = []
    for c in codes:
        x = chr(c)
        lines.append((x + "a" + x + "1 " + x + x + " a" + x + "\u0301" + "'" + x).encode())
    wrong = 0
    for name, t in components():
        if options.only not in name:
            continue
        target = os.path.join(options.folder, "chars.json")
        t.save(target)
        expected = [e.ids for e in t.encode_batch([x.decode() for x in lines])]
        wrong += report(name, "characters", lines, side.encode(target, lines), expected)
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
