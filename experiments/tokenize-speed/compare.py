#!/usr/bin/env python3
"""Encodes the same documents with nibble and with Hugging Face `tokenizers`, in turns.

  python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 sentencepiece
  NIBBLE_TEST_DATA=... venv/bin/python compare.py --nibble build/release/nibble --work /tmp/compare
      [--rounds 5] [--threads 2] [--multi FILE.jsonl]

Both get one tokenizer and one list of documents. A round is: nibble (which warms up and takes the
median of three), encode of every document, encode_batch of all. All ids are compared in every round.
CPU time of the process is measured, so that a machine others use too slows neither.
"""
import argparse
import array
import bisect
import glob
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sysconfig
import time

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false" if os.environ["RAYON_NUM_THREADS"] == "1" else "true"

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402

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
    """Mistral's tokenizer.model: merges by score, as transformers converts such files. nibble reads the model itself."""
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=data("tokenizers", "mistral-spm", "tokenizer.model.v1"))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    merges = []
    for p in pieces:
        parts = [(p[:at], p[at:]) for at in range(1, len(p)) if p[:at] in vocab and p[at:] in vocab]
        merges += [(-model.get_score(vocab[p]), n, m) for n, m in enumerate(sorted(parts, key=lambda m: (vocab[m[0]], vocab[m[1]])))]
    t = Tokenizer(models.BPE(vocab, [m for _, _, m in sorted(merges, key=lambda m: (m[0], vocab[m[2][0] + m[2][1]], m[1]))],
                             unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


TOKENIZERS = {
    "gpt2": lambda: byte_level("gpt2"),
    "qwen2": lambda: byte_level("qwen2.5", QWEN2, nfc=True),
    "llama3 pattern": lambda: byte_level("qwen2.5", LLAMA3, ignore_merges=True),
    "o200k pattern": lambda: byte_level("qwen2.5", O200K),
    "mistral model": spm,
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
        sizes = list(itertools.accumulate(len(d.encode()) for d in documents))
        corpora[name] = documents = documents[:bisect.bisect(sizes, args.megabytes * 1e6) or 1]
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


def seconds(work, clock):
    begin = clock()
    result = work()
    return clock() - begin, result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--nibble", default="build/release/nibble")
    p.add_argument("--work", default="/tmp/tokenize-speed")
    p.add_argument("--multi", help="documents in many scripts, {\"text\": ...} a line (see README)")
    p.add_argument("--megabytes", type=float, default=1.5, help="at most so much of each text")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", default="", help="tokenizers whose name holds this")
    p.add_argument("--wall", action="store_true", help="wall clock instead of CPU time, on a machine that nobody else uses")
    args = p.parse_args()
    corpora = make_files(args)
    clock = time.perf_counter if args.wall else time.process_time
    ours_clock = "seconds" if args.wall else "cpu_seconds"
    print(f"MB/s by {'wall clock' if args.wall else 'CPU time'}; nibble on 1 thread, and by wall clock on {args.threads}")
    print(f"| tokenizer | text | MB | nibble, first pass | later | {args.threads} threads | encode | encode_batch | ratio to encode | to encode_batch | ids |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, make in TOKENIZERS.items():
        if args.only and args.only not in name: continue
        t = make()
        folder = os.path.join(args.work, name.replace(" ", "-"))
        os.makedirs(folder, exist_ok=True)
        if name == "mistral model":
            shutil.copyfile(data("tokenizers", "mistral-spm", "tokenizer.model.v1"), os.path.join(folder, "tokenizer.model"))
        else:
            t.save(os.path.join(folder, "tokenizer.json"))
        for corpus, documents in corpora.items():
            size = sum(len(d.encode()) for d in documents) / 1e6
            first, ours, many, one, batch, same = [], [], [], [], [], True
            for _ in range(args.rounds):
                report, ids = nibble(args, folder, corpus)
                first.append(size / report["first_cpu_seconds"])
                ours.append(size / report["runs"][0][ours_clock])
                many.append(size / report["runs"][-1]["seconds"])
                took, encodings = seconds(lambda: [t.encode(d) for d in documents], clock)
                one.append(size / took)
                same = same and array.array("i", [i for e in encodings for i in e.ids]) == ids
                del encodings
                took, encodings = seconds(lambda: t.encode_batch(documents), clock)
                batch.append(size / took)
                del encodings
            m = statistics.median
            ratio = m(a / b for a, b in zip(ours, one)), m(a / b for a, b in zip(ours, batch))
            print(f"| {name} | {corpus} | {size:.1f} | {m(first):.1f} | {m(ours):.1f} | {m(many):.1f} | {m(one):.2f} | {m(batch):.2f} | {ratio[0]:.1f} | {ratio[1]:.1f} | "
                  f"{'equal' if same else 'DIFFER'} |", flush=True)


if __name__ == "__main__":
    main()
