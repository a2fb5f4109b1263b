#!/usr/bin/env python3
"""Writes model/text/character_classes.inc: classes of characters as the Hugging Face library has them.

  python classes_table.py > ../../model/text/character_classes.inc        (tokenizers 0.23.3)

BERT's normalizer, StripAccents and Punctuation ask tables of Unicode 8 and 9, and models were
trained on what came out. Each class is found by asking the library about every character.
"""
from tokenizers import normalizers, pre_tokenizers

CODES = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]


def ranges(codes):
    out = []
    for c in codes:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, codes):
    print("constexpr uint32_t %s[][2] = {" % name)
    line = "   "
    for first, last in ranges(codes):
        entry = " {0x%X, 0x%X}," % (first, last)
        if len(line) + len(entry) > 100:
            print(line)
            line = "   "
        line += entry
    print(line + "};")


def dropped(normalizer):
    return [c for c in CODES if normalizer.normalize_str("a" + chr(c) + "b") == "ab"]


def bert(**options):
    return normalizers.BertNormalizer(**{**dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), **options})


print("// Written by experiments/tokenizers/classes_table.py: first and last character of each range.")
table("kControls", [c for c in dropped(bert(clean_text=True)) if c != 0xFFFD])
# Characters that decompose are judged by their parts, so only what stays as it is counts.
stays = normalizers.NFD()
table("kNonspacing", [c for c in dropped(bert(strip_accents=True)) if stays.normalize_str(chr(c)) == chr(c)])
table("kMarks", dropped(normalizers.StripAccents()))
cut = pre_tokenizers.Punctuation("removed")
table("kPunctuation", [c for c in CODES if len(cut.pre_tokenize_str("a" + chr(c) + "b")) == 2])
