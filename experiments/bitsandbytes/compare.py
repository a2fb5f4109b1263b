#!/usr/bin/env python3
"""Codes and decodes the same tensors with nibble and with bitsandbytes, in turns.

  python3 -m venv venv && venv/bin/pip install bitsandbytes==0.50.2 torch safetensors numpy
  venv/bin/python compare.py --nibble build/release/nibble --work /tmp/compare
      [--threads 1 2] [--rounds 3] [--large 128] [--blocks 64 4096]

First every byte: codes, scales and values of both, each difference put down to a known defect of
bitsandbytes or reported (exit 1). Then speed: a round is nibble (best of its own repeats) and
bitsandbytes (the same) for each row of the table; the median over the rounds of each speed and of the
ratio is printed, as a table in Markdown.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# Freed memory stays with the process: else bitsandbytes, which allocates every result, would be
# measured by the system's page faults.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
    os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(1 << 40), MALLOC_TOP_PAD_=str(1 << 28))
    os.execv(sys.executable, [sys.executable, *sys.argv])

import logging  # noqa: E402

logging.disable(logging.WARNING)
import numpy as np  # noqa: E402
import torch  # noqa: E402
import bitsandbytes.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.uint8: torch.uint8}
REPEATS = 20  # of each in a round; the fastest counts
f32 = np.float32


def nibble(options, kind, block, tensors, threads, repeat=REPEATS):
    """Runs the bench on `tensors`; its report and what it wrote."""
    source, result = os.path.join(options.work, "in.safetensors"), os.path.join(options.work, "out.safetensors")
    save_file(tensors, source)
    said = subprocess.run([options.nibble, "bench", "quant", "--type", kind, "--block", str(block), "--threads", str(threads),
                           "--repeat", str(repeat), "--input", source, "--output", result, "--json"],
                          check=True, capture_output=True, text=True).stdout
    return json.loads(said), load_file(result)


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────

def nibbles(packed, n):
    packed = packed.reshape(-1).numpy()
    return np.stack([packed >> 4, packed & 15], 1).reshape(-1)[:n]


def scaled(x, block, divide_rest=False):
    """x over its block's largest magnitude as bitsandbytes' rule has it, and the magnitudes, repeated."""
    x = x.float().reshape(-1).numpy()
    absmax = np.array([np.abs(x[b:b + block]).max() for b in range(0, x.size, block)], f32)
    each = np.repeat(absmax, block)[:x.size]
    with np.errstate(all="ignore"):
        return (x * (f32(1) / each)).astype(f32), (x / each).astype(f32), absmax, each


def four_bit_defects(kind, x, block, mine, theirs):
    """Why codes differ: {reason: count}; "unexplained" must not occur."""
    n = x.numel()
    table = F.get_4bit_type(kind, "cpu").numpy()
    borders = np.unique(table)
    borders = (borders[:-1] + borders[1:]) / 2
    product, quotient, _, each = scaled(x, block)
    full = n // block * block
    why = {}
    for i in np.nonzero(mine != theirs)[0]:
        near = np.abs(product[i] - borders).min() <= 4e-6  # the decimals of the GPU's FP4 tree are truncated
        reason = ("code of a zero block (d12)" if each[i] == 0 else
                  "block below 1e-38 (d14)" if each[i] < 1e-38 else
                  "sign of an FP4 zero" if table[mine[i]] == 0 == table[theirs[i]] else
                  "short last block divided (d13)" if i >= full and product[i] != quotient[i] else
                  "FP4 midpoint, not the GPU's threshold" if kind == "fp4" and near else "unexplained")
        why[reason] = why.get(reason, 0) + 1
    return why


def decoded(kind, packed, absmax, n, block, dtype):
    """By definition: table[code] × absmax in fp32, rounded once."""
    table = F.get_4bit_type(kind, "cpu").numpy()
    values = table[nibbles(packed, n)] * np.repeat(absmax.numpy(), block)[:n]
    return torch.from_numpy(values.astype(f32)).to(dtype)


def check_4bit(options, kind, block, name, x, why):
    _, mine = nibble(options, kind, block, {"w": x}, 1, repeat=1)
    packed, state = F.quantize_4bit(x, blocksize=block, quant_type=kind)
    n, dtype = x.numel(), x.dtype
    for reason, count in four_bit_defects(kind, x, block, nibbles(mine["w.codes"], n), nibbles(packed, n)).items():
        why[reason] = why.get(reason, 0) + count
    _, _, absmax, _ = scaled(x, block)
    wrong = int((mine["w.absmax"].numpy() != absmax).sum())
    wrong += int((decoded(kind, mine["w.codes"], mine["w.absmax"], n, block, dtype) != mine["w.decoded"].reshape(-1)).sum())
    why["unexplained"] = why.get("unexplained", 0) + wrong
    # Both decode the same bytes.
    state.absmax = mine["w.absmax"]
    theirs = F.dequantize_4bit(mine["w.codes"].reshape(-1, 1), state).reshape(-1)
    differ = int((theirs != mine["w.decoded"].reshape(-1)).sum())
    if differ:
        reason = "rows that are no whole blocks (d04)" if x.shape[-1] % block else "unexplained"
        why[reason] = why.get(reason, 0) + differ


def check_8bit(options, block, name, x, why):
    _, mine = nibble(options, "dynamic8", block, {"w": x}, 1, repeat=1)
    codes, state = F.quantize_blockwise(x, blocksize=block)
    product, _, absmax, each = scaled(x, block)
    table = state.code.numpy().astype(np.float64)
    exact = np.searchsorted((table[:-1] + table[1:]) / 2, np.nan_to_num(product).astype(np.float64), side="left")
    wrong = int((mine["w.codes"].reshape(-1).numpy() != exact).sum()) + int((mine["w.absmax"].numpy() != absmax).sum())
    wrong += int((mine["w.absmax"] != state.absmax).sum())
    theirs = F.dequantize_blockwise(mine["w.codes"], state, blocksize=block)
    wrong += int((theirs.reshape(-1) != mine["w.decoded"].reshape(-1)).sum())
    why["unexplained"] = why.get("unexplained", 0) + wrong
    why["8-bit code that is not the nearest (d01)"] = (why.get("8-bit code that is not the nearest (d01)", 0) +
                                                       int((codes.reshape(-1).numpy() != exact).sum()))


def check_bytes(options):
    torch.manual_seed(7)
    shapes = {"whole blocks": (64, 4096), "any row length": (24, 4304), "one row, odd": (1, 100003)}
    why, checked = {}, 0
    for name, shape in shapes.items():
        w = torch.randn(shape) * 0.02
        w[:, ::97] = 0
        w.reshape(-1)[4096:8192] = 0
        for dtype in DTYPES.values():
            x = w.to(dtype)
            for block in (32, 64, 128, 256, 512, 1024, 2048, 4096):
                for kind in ("nf4", "fp4"): check_4bit(options, kind, block, name, x, why)
                if block >= 64: check_8bit(options, block, name, x, why)
                checked += 3 * x.numel()
    print(f"Bytes of {checked / 1e6:.0f} M codes in blocks of 32 to 4096, f32 and bf16. Elements that differ, and why:\n")
    print("| why | elements |\n|---|---|")
    for reason, count in sorted(why.items()): print(f"| {reason} | {count} |")
    print(flush=True)
    return why.get("unexplained", 0) == 0


# ── speed ────────────────────────────────────────────────────────────────────────────────────────

def best(work):
    """Seconds of the fastest call; of quick ones there are many, of slow ones a few."""
    work()
    seconds, begin = [], time.perf_counter()
    while len(seconds) < 3 or (time.perf_counter() - begin < 0.3 and len(seconds) < 2000):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def theirs_once(kind, block, x, coded, quantizes):
    """Seconds of bitsandbytes to quantize and to dequantize; the codes are nibble's where its own would take long."""
    if kind == "dynamic8":
        state = F.quantize_blockwise(x[:1], blocksize=block)[1]
        state.absmax, codes = coded["w.absmax"], coded["w.codes"]
        encode = best(lambda: F.quantize_blockwise(x, blocksize=block)) if quantizes else None
        return encode, best(lambda: F.dequantize_blockwise(codes, state, blocksize=block))
    state = F.QuantState(absmax=coded["w.absmax"], shape=x.shape, dtype=x.dtype, blocksize=block,
                         code=F.get_4bit_type(kind, "cpu"), quant_type=kind)
    packed = coded["w.codes"].reshape(-1, 1)
    encode = best(lambda: F.quantize_4bit(x, blocksize=block, quant_type=kind)) if quantizes else None
    return encode, best(lambda: F.dequantize_4bit(packed, state))


def median(rows, key):
    values = [r[key] for r in rows if r[key] is not None]
    return statistics.median(values) if values else None


def number(x, digits=2):
    return "" if x is None else f"{x:.{digits}f}"


def measure(options, threads, dtype, size, kinds, blocks, quantizes):
    """Rows of the table for one number of threads, dtype and size of output (bytes)."""
    torch.set_num_threads(threads)
    torch.manual_seed(3)
    n = size // torch.empty(0, dtype=DTYPES[dtype]).element_size()
    x = (torch.randn(min(n, 1 << 22)) * 0.02).repeat(-(-n // (1 << 22)))[:n].to(DTYPES[dtype]).reshape(-1, 4096)
    rounds = {}
    for _ in range(options.rounds):
        for kind in kinds:
            for block in blocks if kind != "dynamic8" else [256]:
                report, coded = nibble(options, kind, block, {"w": x}, threads)
                run = report["runs"][0]
                encode, decode = theirs_once(kind, block, x, coded, quantizes)
                ours = run["dequantize_seconds"]["best"]
                rounds.setdefault((kind, block), []).append({
                    "quantize": n / run["quantize_seconds"]["best"] / 1e9, "dequantize": n / ours / 1e9,
                    "their quantize": encode and n / encode / 1e9, "their dequantize": n / decode / 1e9,
                    "quantize ratio": encode and encode / run["quantize_seconds"]["best"], "dequantize ratio": decode / ours,
                    "of copy": run["dequantize_bytes_per_s"] / run["copy_bytes_per_s"]})
    for (kind, block), rows in rounds.items():
        m = {key: median(rows, key) for key in rows[0]}
        print(f"| {threads} | {dtype} | {size / 2**20:g} MiB | {kind} | {block} | {number(m['quantize'])} | {number(m['their quantize'], 3)} | "
              f"{number(m['quantize ratio'], 1)} | {number(m['dequantize'])} | {number(m['their dequantize'])} | "
              f"{number(m['dequantize ratio'], 1)} | {number(m['of copy'])} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nibble", required=True)
    parser.add_argument("--work", required=True, help="a directory for files in between")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=512, help="KiB of output a thread that stay in its cache")
    parser.add_argument("--large", type=int, default=128, help="MiB of output that no cache holds")
    parser.add_argument("--blocks", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--skip-bytes", action="store_true")
    options = parser.parse_args()
    options.nibble = os.path.abspath(options.nibble)
    os.makedirs(options.work, exist_ok=True)
    good = options.skip_bytes or check_bytes(options)
    print("Gweights/s, medians of paired rounds\n")
    print("| threads | dtype | output | type | block | quantize | bitsandbytes | ratio | dequantize | bitsandbytes | ratio | of copy bandwidth |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for threads in options.threads:
        for dtype in DTYPES:
            measure(options, threads, dtype, threads * options.small << 10, ["nf4", "fp4", "dynamic8"], options.blocks, True)
            measure(options, threads, dtype, options.large << 20, ["nf4", "fp4", "dynamic8"], [64], False)
    sys.exit(0 if good else 1)


main()
