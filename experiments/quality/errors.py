#!/usr/bin/env python3
"""Bits per weight and relative error of a model's matrices in every format and block size.

errors.py NIBBLE MODEL > table.json, for plot.py. Standard library only.
"""
import json
import os
import subprocess
import sys
import tempfile

nibble, model = sys.argv[1:3]
table = []
with tempfile.TemporaryDirectory() as folder:
    formats = [("int8", ["int8"])]
    for kind in ("nf4", "fp4", "int4"):
        for block in (32, 64, 128, 256, 512, 1024):
            formats.append((f"{kind} {block}", [kind, "--block", str(block)]))
    formats.append(("nf4 64 plain", ["nf4", "--block", "64", "--no-double"]))
    for label, kind in formats:
        out = os.path.join(folder, label.replace(" ", "-"))
        done = subprocess.run([nibble, "quantize", model, out, "--json", "--type", *kind],
                              capture_output=True, text=True, check=True)
        count = bits = error = 0.0
        for row in json.loads(done.stdout)["matrices"]:
            n = row["shape"][0] * row["shape"][1]
            count += n
            bits += n * row["bits_per_weight"]
            error += n * row["relative_error"] ** 2
        table.append({"format": label, "bits": bits / count, "error": (error / count) ** 0.5})
json.dump(table, sys.stdout, indent=1)
