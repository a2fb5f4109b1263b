#!/usr/bin/env python3
"""Perplexity, choice accuracy and weight error of number formats on one model.

measure.py NIBBLE MODEL TEXT.jsonl QUESTIONS.jsonl CONTEXT OUT: writes OUT/table.json and table.md;
texts are cut to CONTEXT tokens. Standard library only.
"""
import json
import subprocess
import sys

FORMATS = [  # label; what nibble quantize's and nibble eval's flags say
    ("bf16", None), ("int8", ["int8"]), ("nf4 32", ["nf4", 32]), ("nf4 64", ["nf4", 64]),
    ("nf4 64 plain", ["nf4", 64, "plain"]), ("nf4 128", ["nf4", 128]), ("nf4 256", ["nf4", 256]),
    ("fp4 32", ["fp4", 32]), ("fp4 64", ["fp4", 64]), ("fp4 128", ["fp4", 128]),
    ("int4 32", ["int4", 32]), ("int4 64", ["int4", 64]), ("int4 128", ["int4", 128])]


def flags(choice, name):
    out = [name, choice[0]]
    if choice[1:]:
        out += ["--block-size" if name == "--quant" else "--block", str(choice[1])]
    if "plain" in choice:
        out += ["--no-double"]
    return out


def run(nibble, *arguments):
    done = subprocess.run([nibble, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def weight_error(report):
    """Bits per weight and relative error over all matrices of a quantize report."""
    count = bits = error = 0.0
    for row in report["matrices"]:
        n = row["shape"][0] * row["shape"][1]
        count += n
        bits += n * row["bits_per_weight"]
        error += n * row["relative_error"] ** 2
    return bits / count, (error / count) ** 0.5


def main():
    nibble, model, text, questions, context, out = sys.argv[1:7]
    table = []
    for label, choice in FORMATS:
        row = {"format": label}
        quant = [] if choice is None else flags(choice, "--quant")
        try:
            score = run(nibble, "eval", "perplexity", model, "--file", text,
                        "--context", context, "--json", *quant)
            picks = run(nibble, "eval", "choices", model, "--file", questions, "--json", *quant)
            row.update(nll=score["nll"], ppl=score["ppl"], acc=picks["acc"],
                       acc_norm=picks["acc_norm"], stderr=picks["acc_norm_stderr"])
            if choice is not None:
                report = run(nibble, "quantize", model, f"{out}/{label.replace(' ', '-')}",
                             "--json", *flags(choice, "--type"))
                row["bits"], row["error"] = weight_error(report)
        except RuntimeError as refused:
            row["refused"] = str(refused)
        table.append(row)
        print(row, file=sys.stderr)
    base = table[0]["ppl"]
    lines = ["| format | bits per weight | relative error | perplexity | rise | accuracy |",
             "|---|---|---|---|---|---|"]
    for row in table:
        if "ppl" not in row:
            lines.append(f"| {row['format']} | refused: {row['refused']} | | | | |")
            continue
        row["rise"] = row["ppl"] / base - 1
        bits = f"{row['bits']:.3f} | {100 * row['error']:.2f} %" if "bits" in row else "16 | "
        lines.append(f"| {row['format']} | {bits} | {row['ppl']:.4f} | {100 * row['rise']:+.2f} % | "
                     f"{100 * row['acc_norm']:.1f} ± {100 * row['stderr']:.1f} % |")
    with open(f"{out}/table.json", "w") as file:
        json.dump(table, file, indent=1)
    with open(f"{out}/table.md", "w") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))


main()
