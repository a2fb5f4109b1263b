#!/usr/bin/env python3
"""Questions from stories: the sentence that follows among four, three of them from other stories.

make_choices.py STORIES.jsonl OUT.jsonl: rows {"context", "choices", "gold"}, seeded.
"""
import json
import random
import re
import sys

rng = random.Random(7)
rows = [json.loads(line)["text"] for line in open(sys.argv[1])]
stories = [[s for s in re.split(r'(?<=[.!?"])\s+', text.strip()) if s] for text in rows]
stories = [s for s in stories if len(s) >= 6]
pool = [s for story in stories for s in story[2:] if 25 <= len(s) <= 90]
with open(sys.argv[2], "w") as out:
    for story in stories:
        for k in (3, 5):
            if k >= len(story) or not 25 <= len(story[k]) <= 90:
                continue
            # Of like length, so that length alone decides nothing.
            near = [s for s in pool if s not in story and abs(len(s) - len(story[k])) <= 8]
            if len(near) < 3:
                continue
            choices = [" " + s for s in [story[k]] + rng.sample(near, 3)]
            order = list(range(4))
            rng.shuffle(order)
            out.write(json.dumps({"context": " ".join(story[:k]),
                                  "choices": [choices[j] for j in order],
                                  "gold": order.index(0)}) + "\n")
