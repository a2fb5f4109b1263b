#!/usr/bin/env python3
"""Error against bits of the table that errors.py wrote, as an SVG on standard output.

plot.py TABLE.json [NAME OF THE MODEL] > error.svg. Standard library only.
"""
import json
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 64, 20, 44, 50
COLOURS = {"nf4": "#0b6e4f", "fp4": "#c1440e", "int4": "#6c4ab6"}
LOW, HIGH, LEAST, MOST = 3.98, 4.54, 0.08, 0.19
table = json.load(open(sys.argv[1]))
name = sys.argv[2] if len(sys.argv) > 2 else "a model"


def x(bits):
    return LEFT + (bits - LOW) / (HIGH - LOW) * (WIDTH - LEFT - RIGHT)


def y(error):
    return HEIGHT - BOTTOM - (error - LEAST) / (MOST - LEAST) * (HEIGHT - TOP - BOTTOM)


def text(at, line, words, anchor="middle", colour="black", size=12):
    return (f'<text x="{at:.1f}" y="{line:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="{size}">{words}</text>')


out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
       'font-family="sans-serif">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
       text(WIDTH / 2, 22, f"relative error of the weights of {name}, by block size", size=14)]
for tenth in range(40, 46):
    at = x(tenth / 10)
    out.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
    out.append(text(at, HEIGHT - BOTTOM + 18, tenth / 10))
for percent in range(8, 20, 2):
    at = y(percent / 100)
    out.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
    out.append(text(LEFT - 8, at + 4, f"{percent} %", "end"))
out.append(text(WIDTH / 2, HEIGHT - 12, "bits per weight"))
for number, (kind, colour) in enumerate(COLOURS.items()):
    points = [r for r in table if r["format"].split()[0] == kind and "plain" not in r["format"]]
    line = " ".join(f'{x(p["bits"]):.1f},{y(p["error"]):.1f}' for p in points)
    out.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
    for p in points:
        out.append(f'<circle cx="{x(p["bits"]):.1f}" cy="{y(p["error"]):.1f}" r="4" fill="{colour}"/>')
        out.append(text(x(p["bits"]) + 8, y(p["error"]) + 4, p["format"].split()[1], "start", colour, 10))
    out.append(text(WIDTH - RIGHT - 190, TOP + 20 + 18 * number, f"{kind}, nested scales", "start", colour))
for r in table:
    if "plain" in r["format"]:
        out.append(f'<circle cx="{x(r["bits"]):.1f}" cy="{y(r["error"]):.1f}" r="4" fill="none" '
                   f'stroke="{COLOURS["nf4"]}"/>')
        out.append(text(x(r["bits"]) - 8, y(r["error"]) - 8, "nf4 64, plain scales", "end", COLOURS["nf4"], 10))
    if r["format"] == "int8":
        out.append(text(WIDTH - RIGHT - 190, TOP + 74,
                        f'int8: {100 * r["error"]:.2f} % at {r["bits"]:.2f} bits', "start", "#555"))
out.append("</svg>")
print("\n".join(out))
