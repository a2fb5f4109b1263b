#!/usr/bin/env python3
"""Error against bits of a table.json that measure.py wrote, as an SVG on standard output.

plot.py TABLE.json [TITLE] > error.svg. Standard library only.
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 70, 20, 40, 50
COLOURS = {"nf4": "#0b6e4f", "fp4": "#c1440e", "int4": "#6c4ab6", "int8": "#1b4f9c"}
rows = [r for r in json.load(open(sys.argv[1])) if "error" in r]
title = sys.argv[2] if len(sys.argv) > 2 else "relative error of the weights against bits per weight"
low, high = 4.0, 9.0
bottom, top = 0.003, 0.2


def x(bits):
    return LEFT + (bits - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def y(error):
    share = (math.log(error) - math.log(bottom)) / (math.log(top) - math.log(bottom))
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
       'font-family="sans-serif" font-size="12">',
       f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
       f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="14">{title}</text>']
for bits in range(int(low), int(high) + 1):
    out.append(f'<line x1="{x(bits):.1f}" y1="{TOP}" x2="{x(bits):.1f}" y2="{HEIGHT - BOTTOM}" '
               'stroke="#ddd"/>')
    out.append(f'<text x="{x(bits):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{bits}</text>')
for error in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
    out.append(f'<line x1="{LEFT}" y1="{y(error):.1f}" x2="{WIDTH - RIGHT}" y2="{y(error):.1f}" '
               'stroke="#ddd"/>')
    out.append(f'<text x="{LEFT - 8}" y="{y(error) + 4:.1f}" text-anchor="end">{100 * error:g} %</text>')
out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">bits per weight</text>')
families = {}
for row in rows:
    families.setdefault(row["format"].split()[0], []).append(row)
for family, points in families.items():
    colour = COLOURS.get(family, "#777")
    line = sorted((p for p in points if "plain" not in p["format"]), key=lambda p: p["bits"])
    if len(line) > 1:
        path = " ".join(f'{x(p["bits"]):.1f},{y(p["error"]):.1f}' for p in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
    for p in points:
        out.append(f'<circle cx="{x(p["bits"]):.1f}" cy="{y(p["error"]):.1f}" r="4" fill="{colour}"/>')
        out.append(f'<text x="{x(p["bits"]) + 7:.1f}" y="{y(p["error"]) - 5:.1f}" fill="{colour}">'
                   f'{p["format"]}</text>')
out.append("</svg>")
print("\n".join(out))
