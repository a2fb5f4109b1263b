#!/usr/bin/env python3
"""nibble tokenize against the reference libraries: ids and decoded text.

  compare.py NIBBLE FOLDER [--bytes N] [--only NAME]     FOLDER keeps the tokenizers that are built
"""
import argparse
import json
import os
import subprocess
import sys
import time

import build
import texts


class Side:
    def __init__(self, nibble, folder):
        self.nibble, self.folder = nibble, folder

    def run(self, target, flag, data, *more):
        path = os.path.join(self.folder, "input")
        with open(path, "wb") as f:
            f.write(data)
        p = subprocess.run([self.nibble, "tokenize", target, flag, path, "--json", *more], capture_output=True)
        if p.returncode:
            raise SystemExit("%s: exit %d: %s" % (target, p.returncode, p.stderr.decode()[:500]))
        return json.loads(p.stdout)

    def encode(self, target, lines, *more):
        return self.run(target, "--lines", b"".join(x + b"\n" for x in lines), *more)["ids"]

    def decode(self, target, lists, *more):
        return self.run(target, "--lines", b"".join(json.dumps(x).encode() + b"\n" for x in lists), "--decode", *more)["texts"]


def report(name, what, inputs, got, expected):
    bad = [i for i in range(len(expected)) if got[i] != expected[i]]
    print("%-24s %-16s %8d cases  %s" % (name, what, len(expected), "ok" if not bad else "%d DIFFER" % len(bad)), flush=True)
    for i in bad[:3]:
        g, e = got[i], expected[i]
        at = next((k for k in range(min(len(g), len(e))) if g[k] != e[k]), min(len(g), len(e)))
        print("   input    %r\n   at %d  got %r\n   expected %r" % (inputs[i][:300], at, g[max(0, at - 3):at + 8], e[max(0, at - 3):at + 8]))
    return len(bad)


def compare(side, name, target, encode, decode, options, plain=False):
    wrong = 0
    lines = texts.lines("lines", options.bytes)
    raw = [x.encode("utf-8") for x in lines] + [texts.document("d", 3000).replace("\n", "\r").encode()]
    expected = encode(raw, True)
    wrong += report(name, "ids", raw, side.encode(target, raw), expected)
    few = raw[: max(200, len(raw) // 20)]
    wrong += report(name, "ids, no special", few, side.encode(target, few, "--no-special"), encode(few, False))
    bad = texts.broken("broken", max(100, options.bytes // 20000))
    wrong += report(name, "broken UTF-8", bad, side.encode(target, bad), encode(bad, True))
    doc = texts.document("document", min(options.bytes // 4, 200_000)).encode()
    wrong += report(name, "whole file", [doc], side.run(target, "--file", doc)["ids"], encode([doc], True))
    if decode:
        wrong += report(name, "decoded", few, side.decode(target, expected[: len(few)]), decode(expected[: len(few)], True))
        wrong += report(name, "decoded, special", few, side.decode(target, expected[: len(few)], "--keep-special"), decode(expected[: len(few)], False))
    return wrong


def hugging_face(side, name, tokenizer, options):
    target = os.path.join(side.folder, name.replace(" ", "-"))
    os.makedirs(target, exist_ok=True)
    tokenizer.save(os.path.join(target, "tokenizer.json"))

    def encode(raw, special):
        return [e.ids for e in tokenizer.encode_batch([x.decode("utf-8", "replace") for x in raw], add_special_tokens=special)]

    def decode(lists, skip):
        return [tokenizer.decode(x, skip_special_tokens=skip) for x in lists]

    return compare(side, name, target, encode, decode, options)


def sentencepiece(side, name, path, options):
    import sentencepiece as spm
    sp = spm.SentencePieceProcessor(model_file=path)

    def encode(raw, special):
        bos = [sp.bos_id()] if special and sp.bos_id() >= 0 else []
        return [bos + sp.encode(x) for x in raw]

    return compare(side, name, path, encode, lambda lists, skip: [sp.decode(x) for x in lists], options, plain=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nibble")
    parser.add_argument("folder")
    parser.add_argument("--bytes", type=int, default=400_000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    side = Side(options.nibble, options.folder)
    start, wrong = time.time(), 0
    models = build.sentencepiece_models(options.folder)
    for name, path in models.items():
        if options.only in "spm " + name:
            wrong += sentencepiece(side, "spm " + name, path, options)
    charsmap = build.charsmap_of(models["unigram-t5"])
    for group in (build.byte_level(), build.character_bpe(), build.word_models(), build.unigram(charsmap)):
        for name, tokenizer in group:
            if options.only in name:
                wrong += hugging_face(side, name, tokenizer, options)
    print("%d differ, %.0f s" % (wrong, time.time() - start))
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
