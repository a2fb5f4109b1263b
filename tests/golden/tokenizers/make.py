#!/usr/bin/env python3
"""Writes the tokenizer vectors of this folder with the reference libraries.

  python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 sentencepiece
  venv/bin/python make.py components models spm unigram          (sentencepiece 0.1.97 or later)
  NIBBLE_TEST_DATA=... venv/bin/python make.py qwen mistral

components.json  tokenizer.json files, each with one or two components, and what they make of texts
models.json      the same for the other models, normalizers, pre-tokenizers and decoders
unigram.model    a SentencePiece unigram model; unigram.json: its ids and texts
spm.model        a SentencePiece BPE model with an own character map, control and user symbols
spm.json         its ids and texts
qwen.json        ids of Qwen2.5's vocab.json + merges.txt (data/tokenizers/qwen2.5 of the shared test data)
mistral.json     ids of Mistral's three tokenizer.model files (data/tokenizers/mistral-spm)
"""
import io
import json
import os
import random

HERE = os.path.dirname(os.path.abspath(__file__))

UGLY = ["", " ", "  ", "\n", "\r\n\r\n", "\t x", " a", "a  b ", "\x00", "a\x00b", "e\u0301", "\ufb01\ufb02",
        "\u1112\u1161\u11ab", "\u65e5\u672c\u8a9e \u30c6\u30ad\u30b9\u30c8", "\U0001f600\U0001f469\u200d\U0001f467",
        "\u200b\ufeff", "\u3000x", "\xa0 a", "\u180e x", "\u0085\u2028y", "I'm HE'LL don't 'ſ", "1234567 \u0663\u00bd\u2167",
        "x1y22z333", "3.14, -2e10!?", "<s>hello</s>", "a <s> b", "[X]  mid [X]", "nowwords now word now", "<unk>", "<0x41>",
        "\u2581", "\u2581\u2581a b", "a\u2581b", "x" * 40, " " * 40, "\n" * 9, " \n" * 5, "a\u0323\u0301\u0301", "\u0130\u0131\u017f\u212a",
        "\u0391\u03a3\u03a3", "\u0915\u094d\u0937\u093f", "def f(x):\n    return x+1\n", '{"a": [1, null]}', "\u00ab\u201cq\u201d\u00bb \u2014",
        "a_b __c__", "\u24b6\u2460", "\ufdfa", "\U0001d400\U0001d7d8", "\U0010ffff", "\u08ca\u0301a", "the quick brown fox jumps",
        "The END. the end, THE end", "loooong   spaces   here", "caf\u00e9 na\u00efve r\u00e9sum\u00e9"]
CORPUS = UGLY + ["the quick brown fox jumps over the lazy dog and the dog sleeps", "she sells sea shells by the sea shore",
                 "one two three four five six seven eight nine ten", "def f(x):\n    return x + 1\n\n", "it's don't we'll I'm they're he'd",
                 "caf\u00e9 caf\u00e9 na\u00efve", "now words now word", "12 123 1234 12345", "the end the end the end"] * 3

GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def recorder(out):
    def case(name, t, texts=UGLY):
        ids = [t.encode(x).ids for x in texts]
        t.encode_special_tokens = True
        plain = [t.encode(x, add_special_tokens=False).ids for x in texts]
        t.encode_special_tokens = False
        n = t.get_vocab_size()
        rng = random.Random(name)
        noise = [[rng.randrange(n) for _ in range(rng.randrange(12))] for _ in range(40)]
        out.append({"name": name, "tokenizer": json.loads(t.to_str()), "texts": texts, "ids": ids, "plain": plain,
                    "decoded": [t.decode(x) for x in ids], "decoded_all": [t.decode(x, skip_special_tokens=False) for x in ids],
                    "noise": noise, "noise_decoded": [t.decode(x, skip_special_tokens=False) for x in noise]})

    return case


def components():
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    def trained(size, pre=None, normalizer=None, decoder=None, byte_level=False, specials=("<unk>", "<s>", "</s>"), **model):
        t = Tokenizer(models.BPE(unk_token=None if byte_level else "<unk>", **model))
        if pre is not None: t.pre_tokenizer = pre
        if normalizer is not None: t.normalizer = normalizer
        if decoder is not None: t.decoder = decoder
        alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
        extra = {k: model[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in model}
        t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), initial_alphabet=alphabet,
                                                          show_progress=False, **extra))
        return t

    S, B = pre_tokenizers.Split, pre_tokenizers.ByteLevel
    seq = pre_tokenizers.Sequence
    out = []
    case = recorder(out)

    t = trained(420, seq([S(Regex(GPT4), "isolated"), B(add_prefix_space=False, use_regex=False)]), decoder=decoders.ByteLevel(),
                byte_level=True, ignore_merges=True)
    t.add_tokens([AddedToken("now", single_word=True, normalized=False), AddedToken("jumps", lstrip=True, normalized=False)])
    t.add_special_tokens([AddedToken("[X]", lstrip=True, rstrip=True, normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)])
    case("byte level, Llama 3 pattern, ignore_merges, stripping tokens, template", t)

    case("byte level with a leading space, GPT-2 pattern", trained(330, B(add_prefix_space=True), decoder=decoders.ByteLevel(), byte_level=True))
    case("bytes mapped before digits are split", trained(330, seq([pre_tokenizers.Punctuation("contiguous"), B(add_prefix_space=False),
         pre_tokenizers.Digits(False), S(Regex("[0-9][0-9][0-9]"), "isolated")]), decoder=decoders.ByteLevel(), byte_level=True))
    case("NFKC, lower case, strip; metaspace first", trained(160, pre_tokenizers.Metaspace(prepend_scheme="first"),
         normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]), decoders.Metaspace(prepend_scheme="first"), fuse_unk=True))
    case("NFD; metaspace always without split; unknown not fused", trained(160, pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
         normalizers.NFD(), decoders.Metaspace()))
    case("regex replacement; digits alone, punctuation merged with next", trained(160, seq([pre_tokenizers.Digits(True),
         pre_tokenizers.Punctuation("merged_with_next")]), normalizers.Replace(Regex(r"\s+"), "_")))
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        case("split on white space, " + behavior, trained(140, S(Regex(r"\s"), behavior)))
    case("words by class, inverted", trained(140, seq([S(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), pre_tokenizers.Digits(True)])))
    case("continuing prefix", trained(150, pre_tokenizers.WhitespaceSplit(), continuing_subword_prefix="##"))
    case("end of word suffix", trained(150, pre_tokenizers.Whitespace(), normalizers.NFC(), end_of_word_suffix="</w>"))

    # As Llama 2 is exported: byte fallback, spaces as marks, no pre-tokenizer.
    t = trained(150, pre_tokenizers.Metaspace(), normalizers.NFC())
    d = json.loads(t.to_str())
    vocab = d["model"]["vocab"]
    rare = [c for c in vocab if len(c) == 1 and ord(c) > 0x2FF and c != "\u2581"]
    used = {part for m in d["model"]["merges"] for part in m} | {"".join(m) for m in d["model"]["merges"]}
    keep = [v for v in sorted(vocab, key=vocab.get) if v not in rare or v in used]
    keep = keep[:3] + ["<0x%02X>" % b for b in range(256)] + keep[3:]
    d["model"].update(vocab={v: i for i, v in enumerate(keep)}, byte_fallback=True, fuse_unk=True)
    d["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                                            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    d["pre_tokenizer"] = None
    d["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    d["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    case("Llama 2: byte fallback, prepended mark", Tokenizer.from_str(json.dumps(d)))
    write("components.json", out)


def models():
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers import models as kinds
    from sentencepiece import sentencepiece_model_pb2 as pb
    out = []
    case = recorder(out)
    texts = UGLY[:4] + UGLY[6:9] + UGLY[10:14] + UGLY[17:20] + UGLY[22:24] + UGLY[25:32] + UGLY[37:]
    seq, nseq = pre_tokenizers.Sequence, normalizers.Sequence

    def trained(kind, trainer, pre, normalizer=None, decoder=None):
        t = Tokenizer(kind)
        t.pre_tokenizer = pre
        if normalizer is not None: t.normalizer = normalizer
        if decoder is not None: t.decoder = decoder
        t.train_from_iterator(CORPUS, trainer)
        return t

    special = ["[UNK]", "[CLS]", "[SEP]"]
    t = trained(kinds.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30),
                trainers.WordPieceTrainer(vocab_size=160, limit_alphabet=90, show_progress=False, special_tokens=special),
                pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(), decoders.WordPiece())
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    case("WordPiece, BERT's normalizer", t, texts)
    t = trained(kinds.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=90, show_progress=False, special_tokens=special),
                pre_tokenizers.Whitespace(), nseq([normalizers.Nmt(), normalizers.NFKD(), normalizers.StripAccents()]))
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    case("WordLevel", t, texts)
    m = pb.ModelProto()
    with open(os.path.join(HERE, "spm.model"), "rb") as f:
        m.ParseFromString(f.read())
    t = trained(kinds.Unigram(), trainers.UnigramTrainer(vocab_size=170, unk_token="<unk>", special_tokens=["<unk>", "</s>"], show_progress=False),
                seq([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
                normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap), decoders.Metaspace())
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    case("Unigram, precompiled map", t, texts)
    d = json.loads(t.to_str())
    d["model"]["byte_fallback"] = True
    d["model"]["vocab"] = [v for v in d["model"]["vocab"] if len(v[0]) > 1 or v[0].isascii()] + [["<0x%02X>" % b, 0.0] for b in range(256)]
    d["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    case("Unigram, bytes of unknown characters", Tokenizer.from_str(json.dumps(d)), texts)
    bpe = lambda: trainers.BpeTrainer(vocab_size=130, special_tokens=["<unk>", "<pad>"], limit_alphabet=90, show_progress=False)
    case("scripts", trained(kinds.BPE(unk_token="<unk>"), bpe(), pre_tokenizers.UnicodeScripts(), None,
                            decoders.Sequence([decoders.Replace(Regex("e(.)"), "<\\1>"), decoders.Fuse(), decoders.Replace("the", "THE")])), texts)
    case("delimiter, CTC", trained(kinds.BPE(unk_token="<unk>"), bpe(), pre_tokenizers.CharDelimiterSplit("|"),
                                   nseq([normalizers.Replace(" ", "|"), normalizers.Lowercase()]), decoders.CTC()), texts)
    case("end of word", trained(kinds.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
                                trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>"], limit_alphabet=90, end_of_word_suffix="</w>", show_progress=False),
                                pre_tokenizers.WhitespaceSplit(), None, decoders.BPEDecoder()), texts)
    write("models.json", out)


def unigram():
    import sentencepiece
    os.chdir(HERE)
    model = io.BytesIO()
    corpus = [x.replace("\x00", "") for x in CORPUS if x.strip("\x00\r\n ")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="unigram", vocab_size=420, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", user_defined_symbols=["__c__", "fox"],
        hard_vocab_limit=False, minloglevel=2)
    with open("unigram.model", "wb") as f:
        f.write(model.getvalue())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    texts = UGLY + ["a fox__c__ ABA", " trailing  ", "<s> hi"]
    ids = [sp.encode(t) for t in texts]
    write("unigram.json", {"texts": texts, "ids": ids, "decoded": [sp.decode(x) for x in ids]})


def spm():
    import sentencepiece
    os.chdir(HERE)  # the model keeps the rules' name: no folder in it
    rules = "rules.tsv"
    with open(rules, "w", encoding="utf-8") as f:  # hexadecimal source and target of the map
        for source, target in (("FB01", "66 69"), ("3000", "20"), ("65 301", "E9"), ("200B", ""), ("A0", "20"), ("9", "20"), ("A", "20"), ("41", "61")):
            f.write(source + "\t" + target + "\n")
    model = io.BytesIO()
    corpus = [x.replace("\x00", "") for x in CORPUS if x.strip("\x00\r\n ")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=420, byte_fallback=True,
        character_coverage=0.98, normalization_rule_tsv=rules, user_defined_symbols=["__c__", "fox"], control_symbols=["[INST]"],
        remove_extra_whitespaces=True, hard_vocab_limit=False, split_digits=True, minloglevel=2)
    os.remove(rules)
    with open(os.path.join(HERE, "spm.model"), "wb") as f:
        f.write(model.getvalue())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    # A text that begins with the mark decodes without it, by a rule of its own (remove_extra_whitespaces).
    texts = [t for t in UGLY if not t.startswith("\u2581")] + ["\ufb01x\u3000 e\u0301\u200bz", "a fox__c__ ABA", " trailing  ", "[INST] hi"]
    ids = [sp.encode(t) for t in texts]
    broken = ["ff", "61e28262", "f09f98", "eda080", "c080", "e282ac20e2", "80808041"]
    write("spm.json", {"texts": texts, "ids": ids, "decoded": [sp.decode(x) for x in ids], "broken_hex": broken,
                       "broken_ids": [sp.encode(bytes.fromhex(b)) for b in broken]})


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def qwen():
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
    folder = os.path.join(os.environ["NIBBLE_TEST_DATA"], "data/tokenizers/qwen2.5")
    t = Tokenizer(models.BPE.from_file(folder + "/vocab.json", folder + "/merges.txt"))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    with open(folder + "/tokenizer_config.json", encoding="utf-8") as f:
        added = json.load(f)["added_tokens_decoder"]
    for _, token in sorted(added.items(), key=lambda x: int(x[0])):
        t.add_tokens([AddedToken(**token)])
    texts = UGLY + ["<|im_start|>user\nhi<|im_end|>\n", "<tool_call> {} </tool_call>"]
    write("qwen.json", {"texts": texts, "ids": [t.encode(x).ids for x in texts]})


def mistral():
    import sentencepiece
    folder = os.path.join(os.environ["NIBBLE_TEST_DATA"], "data/tokenizers/mistral-spm")
    out = {"texts": UGLY, "ids": {}}
    for name in sorted(n for n in os.listdir(folder) if ".model" in n):
        sp = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, name))
        out["ids"][name] = [sp.encode(x) for x in UGLY]
    write("mistral.json", out)


if __name__ == "__main__":
    import sys
    for name in sys.argv[1:]:
        globals()[name]()
