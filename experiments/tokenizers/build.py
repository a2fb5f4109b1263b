"""Tokenizers with the component settings of published models around small vocabularies trained here."""
import base64
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import texts

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+")
GRANITE_PHI4 = LLAMA3
S, B, D = pre_tokenizers.Split, pre_tokenizers.ByteLevel, pre_tokenizers.Digits
seq, nseq = pre_tokenizers.Sequence, normalizers.Sequence
CORPUS = None


def corpus():
    global CORPUS
    if CORPUS is None:
        CORPUS = texts.lines("corpus", 400_000)
    return CORPUS


def template(t, first, last=()):
    ids = {x: t.token_to_id(x) for x in list(first) + list(last)}
    one = " ".join([*first, "$A", *last])
    two = " ".join([*first, "$A", *last, "$B:1", *[x + ":1" for x in last]])
    return processors.TemplateProcessing(single=one, pair=two, special_tokens=list(ids.items()))


def bpe(pre, normalizer=None, size=2000, specials=("<|endoftext|>", "<s>", "</s>"), post=None, add=(), **model):
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False,
                                                        initial_alphabet=B.alphabet()))
    t.add_tokens(list(add))
    t.post_processor = post(t) if post else processors.ByteLevel(trim_offsets=False)
    return t


def split(pattern):
    return seq([S(Regex(pattern), "isolated"), B(add_prefix_space=False, use_regex=False)])


def with_bos(t):
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t, ["<s>"])])


def byte_level():
    yield "gpt2", bpe(B(add_prefix_space=False))
    yield "gpt2-prefix-space", bpe(B(add_prefix_space=True), post=lambda t: processors.ByteLevel(trim_offsets=True))
    yield "roberta", bpe(B(add_prefix_space=False), post=lambda t: processors.RobertaProcessing(("</s>", 2), ("<s>", 1)),
                         add=[AddedToken("<mask>", lstrip=True, special=True)])
    yield "neox", bpe(B(add_prefix_space=False), normalizers.NFC(), add=[AddedToken(" " * n, normalized=True) for n in range(2, 12)])
    yield "llama3", bpe(split(LLAMA3), post=with_bos, ignore_merges=True)
    yield "qwen2", bpe(split(QWEN2), normalizers.NFC(), add=[AddedToken("<|im_start|>", special=True, normalized=False),
                                                             AddedToken("<tool_call>", normalized=False)])
    yield "gpt4o", bpe(split(GPT4O), ignore_merges=True)
    yield "tekken", bpe(split(TEKKEN), post=with_bos, ignore_merges=True)
    yield "falcon", bpe(seq([pre_tokenizers.Punctuation("contiguous"), B(add_prefix_space=False), D(individual_digits=False),
                             S(Regex("[0-9][0-9][0-9]"), "isolated")]))
    yield "starcoder2", bpe(seq([D(individual_digits=True), B(add_prefix_space=False)]))
    yield "cohere", bpe(seq([D(individual_digits=True), B(add_prefix_space=False)]), normalizers.NFC(), post=lambda t: template(t, ["<s>"]))
    yield "glm4", bpe(split(LLAMA3), post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t, ["<s>", "</s>"])]))
    yield "deepseek3", bpe(seq([S(Regex(r"\p{N}{1,3}"), "isolated"), S(Regex("[一-龥\u3040-ゟ゠-ヿ]+"), "isolated"),
                                S(Regex(DEEPSEEK3), "isolated"), B(add_prefix_space=False, use_regex=False)]))
    yield "deepseek-llm", bpe(seq([S(Regex("[\r\n]"), "isolated"), S(Regex(r"\s?\p{L}+"), "isolated"), S(Regex(r"\s?\p{P}+"), "isolated"),
                                   S(Regex(r"\s+$"), "isolated"), S(Regex("[一-龥ࠀ-一가-\ud7ff]+"), "isolated"), D(individual_digits=True),
                                   B(add_prefix_space=False, use_regex=False)]))
    yield "bloom", bpe(seq([S(Regex(" ?[^(\\s|[.,!?…。，、।۔،])]+"), "isolated"), B(add_prefix_space=False, use_regex=False)]))
    yield "stablelm2-removed", bpe(seq([S(Regex(LLAMA3), "removed", invert=True), B(add_prefix_space=False, use_regex=False)]))
    yield "normalized bytes", bpe(S(" ", "merged_with_next"), nseq([normalizers.NFC(), normalizers.ByteLevel()]))
    yield "clip", clip()
    yield "added", added()


def clip():
    t = bpe(seq([S(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True), B(add_prefix_space=False)]),
            nseq([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]), end_of_word_suffix="</w>",
            unk_token="<|endoftext|>")
    return t


def added():
    return bpe(split(LLAMA3), normalizers.Lowercase(), add=[
        AddedToken("the", single_word=True), AddedToken("and", lstrip=True), AddedToken("For", rstrip=True, normalized=True),
        AddedToken("water", normalized=False), AddedToken("waterfall", normalized=False), AddedToken("Oil", normalized=False, single_word=True),
        AddedToken("<x>", special=True, lstrip=True, rstrip=True), AddedToken("is", lstrip=True, rstrip=True, single_word=True),
        AddedToken("\u3042", normalized=False), AddedToken("  ", normalized=True)])


def with_bytes(t, fused=True):
    d = json.loads(t.to_str())
    vocab = d["model"]["vocab"]
    used = {p for m in d["model"]["merges"] for p in m} | {"".join(m) for m in d["model"]["merges"]}
    keep = [v for v in sorted(vocab, key=vocab.get) if len(v) != 1 or ord(v) < 0x500 or v in used or v == "\u2581"]
    keep = keep[:3] + ["<0x%02X>" % b for b in range(256)] + keep[3:]
    d["model"].update(vocab={v: i for i, v in enumerate(keep)}, byte_fallback=True, fuse_unk=fused, unk_token=keep[0])
    return d


LLAMA_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def character_bpe():
    def trained(pre, normalizer=None, specials=("<unk>", "<s>", "</s>"), size=1500, **model):
        t = Tokenizer(models.BPE(unk_token=specials[0], **model))
        if pre is not None:
            t.pre_tokenizer = pre
        if normalizer is not None:
            t.normalizer = normalizer
        extra = {k: model[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in model}
        t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False,
                                                            limit_alphabet=500, **extra))
        return t

    bos = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    d = with_bytes(trained(pre_tokenizers.Metaspace()))
    d.update(normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
             {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}, pre_tokenizer=None, decoder=LLAMA_DECODER, post_processor=bos)
    yield "llama2", Tokenizer.from_str(json.dumps(d))
    d.update(normalizer=None, pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False})
    yield "llama2 not legacy", Tokenizer.from_str(json.dumps(d))
    d.update(normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
             pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
             decoder={"type": "Sequence", "decoders": LLAMA_DECODER["decoders"][:3]})
    yield "gemma", Tokenizer.from_str(json.dumps(d))
    yield "metaspace never", trained(pre_tokenizers.Metaspace(prepend_scheme="never"), normalizers.NFKD())
    yield "metaspace first", trained(pre_tokenizers.Metaspace(prepend_scheme="first"), nseq([normalizers.Strip(), normalizers.NFKC()]))
    yield "end of word", _decoder(trained(pre_tokenizers.Whitespace(), normalizers.NFKC(), end_of_word_suffix="</w>"), decoders.BPEDecoder())
    yield "continuing prefix", _decoder(trained(pre_tokenizers.BertPreTokenizer(), normalizers.NFD(), continuing_subword_prefix="##"), decoders.WordPiece(cleanup=True))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        yield "punctuation " + behavior, trained(seq([pre_tokenizers.Punctuation(behavior), D(individual_digits=behavior == "removed")]))
        yield "split " + behavior, trained(seq([S("e", behavior), S(Regex(r"\d+|\s"), behavior, invert=behavior != "isolated")]))
    yield "delimiter", trained(pre_tokenizers.CharDelimiterSplit(" "), normalizers.Nmt())
    yield "scripts", trained(seq([pre_tokenizers.UnicodeScripts(), pre_tokenizers.WhitespaceSplit()]))
    yield "fixed length", trained(pre_tokenizers.FixedLength(length=3)) if hasattr(pre_tokenizers, "FixedLength") else trained(pre_tokenizers.Digits())
    yield "accents", trained(pre_tokenizers.Whitespace(), nseq([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                                               normalizers.Replace(Regex("[0-9]+"), "#"), normalizers.Prepend("_")]))
    yield "ctc", _decoder(trained(pre_tokenizers.CharDelimiterSplit("|"), normalizers.Replace(" ", "|")), decoders.CTC(pad_token="<s>"))


def _decoder(t, decoder):
    t.decoder = decoder
    return t


def word_models():
    for name, lower, accents in (("bert uncased", True, None), ("bert cased", False, None), ("bert accents", True, False)):
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=accents)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=2500, show_progress=False, limit_alphabet=600,
                                                                  special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        t.post_processor = template(t, ["[CLS]"], ["[SEP]"])
        t.decoder = decoders.WordPiece()
        yield name, t
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=2000, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    yield "word level", t


def unigram(charsmap):
    def trained(pre, normalizer, fallback=False):
        t = Tokenizer(models.Unigram())
        if normalizer is not None:
            t.normalizer = normalizer
        t.pre_tokenizer = pre
        t.decoder = decoders.Metaspace()
        t.train_from_iterator(corpus()[:3000], trainers.UnigramTrainer(vocab_size=4500, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"],
                                                                       show_progress=False))
        if fallback:
            d = json.loads(t.to_str())
            d["model"]["byte_fallback"] = True
            d["model"]["vocab"] = [v for v in d["model"]["vocab"] if len(v[0]) > 1 or ord(v[0]) < 0x500] + [["<0x%02X>" % b, 0.0] for b in range(256)]
            t = Tokenizer.from_str(json.dumps(d))
        return t

    meta = pre_tokenizers.Metaspace
    charmap = normalizers.Precompiled(charsmap)
    t = trained(seq([pre_tokenizers.WhitespaceSplit(), meta()]), charmap)
    t.post_processor = template(t, [], ["</s>"])
    yield "t5", t
    yield "xlm-r", trained(meta(), nseq([charmap, normalizers.Replace(Regex(" {2,}"), " ")]))
    yield "albert", trained(meta(), nseq([normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), charmap]))
    yield "unigram bytes", trained(meta(split=False), None, fallback=True)


def sentencepiece_models(folder):
    import io
    import sentencepiece as spm
    clean = [x.replace("\x00", "") for x in corpus() if x.strip("\x00\r\n ")]
    out = {}
    kinds = {"bpe-llama": dict(model_type="bpe", byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                               allow_whitespace_only_pieces=True, user_defined_symbols=["<sep>", "water"], control_symbols=["[INST]"]),
             "bpe-nfkc": dict(model_type="bpe", normalization_rule_name="nmt_nfkc_cf"),
             "bpe-gemma": dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
                               normalization_rule_name="identity", user_defined_symbols=["\u2581\u2581", "<start>", "\t\t"]),
             "unigram-t5": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
             "unigram-bytes": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="nfkc", user_defined_symbols=["oil", "<x>"],
                                   remove_extra_whitespaces=False),
             "unigram-suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True),
             "bpe-suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True),
             "word": dict(model_type="word", use_all_vocab=False), "char": dict(model_type="char", user_defined_symbols=["the"])}
    for name, options in kinds.items():
        data = io.BytesIO()
        size = 4000
        spm.SentencePieceTrainer.train(sentence_iterator=iter(clean[:4000]), model_writer=data, vocab_size=size, character_coverage=0.995,
                                       hard_vocab_limit=False, minloglevel=2, **options)
        path = os.path.join(folder, "spm-%s.model" % name)
        with open(path, "wb") as f:
            f.write(data.getvalue())
        out[name] = path
    return out


def charsmap_of(path):
    from sentencepiece import sentencepiece_model_pb2 as pb
    m = pb.ModelProto()
    with open(path, "rb") as f:
        m.ParseFromString(f.read())
    return m.normalizer_spec.precompiled_charsmap
