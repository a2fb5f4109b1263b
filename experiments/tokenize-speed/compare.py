#!/usr/bin/env python3
"""Encodes the same documents with nibble and with Hugging Face `tokenizers`, in turns.

  python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 transformers==5.23.0 sentencepiece
  NIBBLE_TEST_DATA=... venv/bin/python compare.py --nibble build/release/nibble --work /tmp/compare
      [--rounds 5] [--threads 1,2] [--multi FILE.jsonl]

Both get one tokenizer.json (or one tokenizer.model, converted by transformers for the library) and
one list of documents. A round is: nibble, encode of every document, encode_batch of all. Before
times are believed, all ids are compared.
"""
import argparse
import array
import glob
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false" if os.environ["RAYON_NUM_THREADS"] == "1" else "true"

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def data(*parts):
    return os.path.join(os.environ["NIBBLE_TEST_DATA"], "data", *parts)


def byte_level(folder, pattern=None, ignore_merges=False, nfc=False):
    """GPT-2's or Qwen's vocabulary behind a published pattern."""
    t = Tokenizer(models.BPE.from_file(data("tokenizers", folder, "vocab.json"), data("tokenizers", folder, "merges.txt"),
                                       ignore_merges=ignore_merges))
    if nfc: t.normalizer = normalizers.NFC()
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is None:
        t.pre_tokenizer = last
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), last])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    return t


def spm():
    """Mistral's tokenizer.model as transformers converts it; nibble reads the model itself."""
    import transformers
    return transformers.LlamaTokenizerFast(vocab_file=data("tokenizers", "mistral-spm", "tokenizer.model.v1"), legacy=True)._tokenizer


TOKENIZERS = {
    "gpt2": lambda: byte_level("gpt2"),
    "qwen2": lambda: byte_level("qwen2.5", QWEN2, nfc=True),
    "llama3 pattern": lambda: byte_level("qwen2.5", LLAMA3, ignore_merges=True),
    "o200k pattern": lambda: byte_level("qwen2.5", O200K),
    "llama2 json": lambda: Tokenizer.from_file(data("tokenizers", "hf-json-openllama", "tokenizer.json")),
}


def pieces(text, size=6000):
    """Documents of some KB, cut at line ends."""
    out, at = [], 0
    while at < len(text):
        end = text.find("\n", at + size) + 1 or len(text)
        out.append(text[at:end])
        at = end
    return out


def english():
    texts = [open(data("datasets", "tinyshakespeare", "input.txt"), encoding="utf-8").read()]
    for name in ("tinystories-val/stories.jsonl", "gsm8k/train.jsonl"):
        for line in open(data("datasets", *name.split("/")), encoding="utf-8"):
            texts[-1:] = [texts[-1] + "\n" + "\n".join(v for v in json.loads(line).values() if isinstance(v, str))] if len(texts[-1]) < 6000 \
                else [texts[-1], "\n".join(v for v in json.loads(line).values() if isinstance(v, str))]
    return [p for t in texts for p in pieces(t)]


def code():
    total, out = 0, []
    for path in sorted(glob.glob(os.path.join(sysconfig.get_paths()["stdlib"], "*.py"))):
        text = open(path, encoding="utf-8", errors="replace").read()
        out += pieces(text)
        total += len(text)
        if total > 5_000_000: break
    return out


def make_files(args):
    os.makedirs(args.work, exist_ok=True)
    corpora = {"english": english(), "code": code()}
    if args.multi: corpora["multi-script"] = [json.loads(line)["text"] for line in open(args.multi, encoding="utf-8")]
    for name, documents in corpora.items():
        with open(os.path.join(args.work, name + ".jsonl"), "w", encoding="utf-8") as f:
            for d in documents: f.write(json.dumps({"text": d}, ensure_ascii=False) + "\n")
    return corpora


def nibble(args, folder, corpus):
    ids = os.path.join(args.work, "ids.bin")
    if os.path.exists(ids): os.remove(ids)
    out = subprocess.run([args.nibble, "bench", "tokenize", folder, "--file", os.path.join(args.work, corpus + ".jsonl"), "--threads", str(args.threads),
                          "--rounds", "3", "--ids", ids, "--json"], check=True, capture_output=True, text=True).stdout
    found = array.array("i")
    with open(ids, "rb") as f: found.frombytes(f.read())
    return json.loads(out), found


def seconds(work):
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--nibble", default="build/release/nibble")
    p.add_argument("--work", default="/tmp/tokenize-speed")
    p.add_argument("--multi", help="documents in many scripts, {\"text\": ...} a line (see README)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", default="")
    args = p.parse_args()
    corpora = make_files(args)
    print(f"| tokenizer | text | MB | nibble MB/s | {args.threads} threads | encode MB/s | encode_batch MB/s | ratio to encode | to encode_batch | ids |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    models_ = dict(TOKENIZERS)
    models_["mistral model"] = spm
    for name, make in models_.items():
        if args.only and args.only not in name: continue
        t = make()
        folder = os.path.join(args.work, name.replace(" ", "-"))
        os.makedirs(folder, exist_ok=True)
        if name == "mistral model":
            with open(data("tokenizers", "mistral-spm", "tokenizer.model.v1"), "rb") as a, open(os.path.join(folder, "tokenizer.model"), "wb") as b:
                b.write(a.read())
        else:
            t.save(os.path.join(folder, "tokenizer.json"))
        for corpus, documents in corpora.items():
            size = sum(len(d.encode()) for d in documents) / 1e6
            ours, many, one, batch, same = [], [], [], [], True
            for _ in range(args.rounds):
                report, ids = nibble(args, folder, corpus)
                ours.append(size / report["runs"][0]["seconds"])
                many.append(size / report["runs"][-1]["seconds"])
                took, encodings = seconds(lambda: [t.encode(d) for d in documents])
                one.append(size / took)
                same = same and array.array("i", [i for e in encodings for i in e.ids]) == ids
                del encodings
                took, encodings = seconds(lambda: t.encode_batch(documents))
                batch.append(size / took)
                del encodings
            m = statistics.median
            ratio = m(a / b for a, b in zip(ours, one)), m(a / b for a, b in zip(ours, batch))
            print(f"| {name} | {corpus} | {size:.1f} | {m(ours):.1f} | {m(many):.1f} | {m(one):.2f} | {m(batch):.2f} | {ratio[0]:.1f} | {ratio[1]:.1f} | "
                  f"{'equal' if same else 'DIFFER'} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
