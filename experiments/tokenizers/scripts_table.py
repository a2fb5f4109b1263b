#!/usr/bin/env python3
"""Writes model/text/unicode_scripts.inc from the Unicode database (Debian package unicode-data).

  apt-get download unicode-data && dpkg -x unicode-data_*.deb ucd
  python3 scripts_table.py ucd/usr/share/unicode > ../../model/text/unicode_scripts.inc

The Hugging Face library cuts by the scripts of Unicode 9: later characters have none here.
"""
import sys

OLDEST = (9, 0)
# What later versions of the database say otherwise of characters that Unicode 9 had.
THEN = {0x589: "Common", 0x61C: "Common", 0x953: "Devanagari", 0x954: "Devanagari"}
JAPANESE = {"Hiragana", "Katakana"}  # one script with Han, as the library has it


def rows(path):
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line:
            codes, value = (part.strip() for part in line.split(";"))
            first, _, last = codes.partition("..")
            yield int(first, 16), int(last or first, 16), value


def main(folder):
    age = {c: tuple(map(int, v.split("."))) for a, b, v in rows(folder + "/DerivedAge.txt") for c in range(a, b + 1)}
    script = {c: v for a, b, v in rows(folder + "/Scripts.txt") for c in range(a, b + 1)}
    script.update(THEN)
    script[0x30FC] = "Han"
    del script[0x20]
    names = {}
    ranges = []
    for code in sorted(script):
        if age[code] > OLDEST:
            continue
        name = "Han" if script[code] in JAPANESE else script[code]
        number = names.setdefault(name, len(names) + 1)
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == number:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, number])
    print("// Written by experiments/tokenizers/scripts_table.py: first and last character, script.")
    line = ""
    for first, last, number in ranges:
        entry = "{0x%X, 0x%X, %d}," % (first, last, number)
        if len(line) + len(entry) + 1 > 100:
            print(line)
            line = ""
        line += (" " if line else "") + entry
    print(line)


main(sys.argv[1])
