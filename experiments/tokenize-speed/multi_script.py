#!/usr/bin/env python3
"""Makes the multi-script documents: Django's translations, one document a language and message file.

  pip download --no-deps django==5.2.19 && python3 multi_script.py django-*.whl > multi.jsonl
"""
import ast
import json
import re
import sys
import zipfile

wheel = zipfile.ZipFile(sys.argv[1])
for name in sorted(n for n in wheel.namelist() if n.endswith(".po") and "/en" not in n):
    text, taking = [], False
    for line in wheel.read(name).decode("utf-8").splitlines():
        found = re.match(r'(msgstr(?:\[\d\])? )?(".*")$', line)
        if line.startswith("msgstr"):
            taking = True
            text.append("\n")
        elif not line.startswith('"'):
            taking = False
        if taking and found: text.append(ast.literal_eval(found[2]))
    whole = "".join(text).split("\n", 12)[-1]  # without the header
    for at in range(0, len(whole), 6000): print(json.dumps({"text": whole[at:at + 6000]}, ensure_ascii=False))
