#!/usr/bin/env python3
"""Texts of one or two characters, half a megabyte and a megabyte of each: CPU time must about double.

  python3 adversarial.py build/release/nibble TOKENIZER...
"""
import json
import os
import random
import subprocess
import sys
import tempfile

rng = random.Random(0)
UNITS = {"a": "a", "spaces": " ", "newlines": "\n", "digits": "7", "marks": "\u2581", "one CJK": "\u4e2d", "ab": "ab", "ab\\n": "ab\n", "capitals": "A",
         "apostrophes": "'", "combining": "\u0301", "jamo": "\u1161", "<": "<", "space tab": " \t", "space newline": " \n", "NUL": "\x00",
         "random characters": "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0xA0, 0x2FFF), rng.randrange(0x4E00, 0x9FFF)])) for _ in range(50000))}
nibble = sys.argv[1]
for folder in sys.argv[2:]:
    print(folder)
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "one.jsonl")
        for name, unit in UNITS.items():
            took = []
            for n in (500_000, 1_000_000):
                text = (unit * (n // len(unit.encode()) + 1))
                with open(path, "w", encoding="utf-8") as f: f.write(json.dumps({"text": text}) + "\n")
                out = subprocess.run([nibble, "bench", "tokenize", folder, "--file", path, "--threads", "1", "--rounds", "3", "--json"],
                                     check=True, capture_output=True, text=True).stdout
                took.append(json.loads(out)["runs"][0]["cpu_seconds"])
            print(f"  {name:18s} {took[0]:7.3f} s {took[1]:7.3f} s  x {took[1] / took[0]:.2f}", flush=True)
