"""What run.sh measured: a table of held-out losses on standard error, the plot on standard output.

    python3 summarize.py OUT > results.svg
"""
import json
import pathlib
import sys

CODECS = [("32bit", "32-bit", "#444444"), ("default", "8-bit, default codec", "#1f6fb2"), ("bnb", "8-bit, bnb codec", "#c8553d")]
KINDS = [("lora", "QLoRA r 16 on stories260K"), ("full", "adapter: full, 10 M from random weights")]
SEEDS = (1, 2, 3)


def rows(out, kind, codec, seed):
    path = out / f"{kind}-{codec}-{seed}" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def evaluations(out, kind, codec, seed):
    return [(r["step"], r["eval_loss"]) for r in rows(out, kind, codec, seed) if "eval_loss" in r]


def losses(out, kind, codec, seed, window=5):
    points = [(r["step"], r["loss"]) for r in rows(out, kind, codec, seed) if "learning_rate" in r]
    return [(points[i][0], sum(p[1] for p in points[max(0, i - window + 1) : i + 1]) / min(i + 1, window))
            for i in range(len(points))]


def table(out, kind, title):
    print(f"\n{title}\n| seed | " + " | ".join(name for _, name, _ in CODECS) + " | default / 32-bit | bnb / 32-bit |",
          file=sys.stderr)
    print("|---" * 6 + "|", file=sys.stderr)
    ratios = {"default": [], "bnb": []}
    for seed in SEEDS:
        last = {}
        for codec, _, _ in CODECS:
            found = evaluations(out, kind, codec, seed)
            if found:
                last[codec] = found[-1][1]
        if len(last) < 3:
            continue
        change = {c: last[c] / last["32bit"] - 1 for c in ratios}
        for c in ratios:
            ratios[c].append(change[c])
        print(f"| {seed} | " + " | ".join(f"{last[c]:.4f}" for c, _, _ in CODECS)
              + f" | {100 * change['default']:+.3f} % | {100 * change['bnb']:+.3f} % |", file=sys.stderr)
    for c in ratios:
        if ratios[c]:
            print(f"{c}: mean {100 * sum(ratios[c]) / len(ratios[c]):+.3f} %, "
                  f"worst {100 * max(ratios[c], key=abs):+.3f} %", file=sys.stderr)


def panel(out, kind, title, left):
    width, height, top = 360, 240, 40
    series = {(c, s): losses(out, kind, c, s) for c, _, _ in CODECS for s in SEEDS}
    points = [p for line in series.values() for p in line]
    if not points:
        return ""
    steps = max(p[0] for p in points)
    tail = [p[1] for p in points if p[0] > steps * 0.03]
    low, high = min(tail), max(tail)
    x = lambda step: left + width * step / steps
    y = lambda loss: top + height * (high - min(loss, high)) / (high - low)
    svg = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>',
           f'<text x="{left}" y="{top - 10}">{title}</text>']
    for k in range(5):
        value = low + (high - low) * k / 4
        svg.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
        svg.append(f'<text x="{x(steps * k / 4):.1f}" y="{top + height + 16}" text-anchor="middle">{steps * k // 4}</text>')
    for codec, _, colour in CODECS:
        for seed in SEEDS:
            path = " ".join(f"{x(s):.1f},{y(l):.1f}" for s, l in series[codec, seed])
            dash = {"32bit": "", "default": ' stroke-dasharray="5 3"', "bnb": ' stroke-dasharray="1.5 2.5"'}[codec]
            svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"{dash}/>')
    return "\n".join(svg)


def main():
    out = pathlib.Path(sys.argv[1])
    print('<svg xmlns="http://www.w3.org/2000/svg" width="920" height="340" font-family="sans-serif" font-size="12">')
    print('<rect width="920" height="340" fill="white"/>')
    for i, (kind, title) in enumerate(KINDS):
        print(panel(out, kind, title, 60 + 450 * i))
        table(out, kind, title)
    for i, (_, name, colour) in enumerate(CODECS):
        print(f'<text x="{60 + 200 * i}" y="325" fill="{colour}">{name}: three seeds</text>')
    print('<text x="720" y="325">training loss, mean of 25 steps</text>')
    print("</svg>")


main()
