"""Blocks of 256 as ggml's reference encoders make them (llama.cpp of llama-cpp-python 0.3.36).
usage: python make_k.py GGML   (its source folder; writes k_blocks.safetensors beside itself)
The encoders are compiled without contraction: with it they round otherwise from CPU to CPU."""
import ctypes, os, subprocess, sys, tempfile
import numpy as np
from safetensors.numpy import save_file

ggml, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
with tempfile.TemporaryDirectory() as d:
    open(f"{d}/ggml-version.h", "w").write('#define GGML_VERSION "x"\n#define GGML_COMMIT "x"\n')
    subprocess.check_call(["gcc", "-shared", "-fPIC", "-O2", "-w", "-ffp-contract=off", "-D_GNU_SOURCE", f"-I{d}",
                           f"-I{ggml}/include", f"-I{ggml}/src", f"{ggml}/src/ggml-quants.c", "-Wl,--unresolved-symbols=ignore-all",
                           "-o", f"{d}/q.so", "-lm"])
    lib = ctypes.CDLL(f"{d}/q.so", mode=os.RTLD_LAZY)
    r = np.random.default_rng(11)
    x = r.standard_normal((6, 256), dtype=np.float32)
    x[1] *= 1e-3; x[2, :128] = 0; x[3] = np.abs(x[3]); x[4] *= np.repeat(r.lognormal(0, 2, 8), 32).astype(np.float32); x[5] = 0
    t = {"x": x}
    for kind, size in (("q4_K", 144), ("q5_K", 176), ("q6_K", 210)):
        out = np.zeros((6, size), dtype=np.uint8)
        getattr(lib, f"quantize_row_{kind}_ref")(x.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
        t[f"encoded.{kind.lower()}"] = out
    save_file(t, f"{here}/k_blocks.safetensors")
