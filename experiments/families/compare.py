"""Families against transformers and PEFT: usage compare.py NIBBLE MODELS_DIR [--train]

MODELS_DIR holds model directories, each with a golden.safetensors beside the weights: p0.* and p1.*
(input_ids, logits, greedy, margin, hidden states) in float64, as README.md says. Without --train:
`nibble logits --hidden` and `nibble generate` against them. With it: a LoRA adapter is trained by
nibble on each, read by PEFT, merged by nibble, and the merged directory read by transformers.
"""
import json, os, subprocess, sys, tempfile
from safetensors.numpy import load_file

nibble, root = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.chdir(tempfile.mkdtemp())


def run(*arguments):
    done = subprocess.run([nibble, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[0])
    return done.stdout


def ids_file(lists):
    json.dump(lists, open("ids.json", "w"))
    return "ids.json"


def forward(folder):
    want = load_file(folder + "/golden.safetensors")
    ids = ids_file([want[p + ".input_ids"].tolist() for p in ("p0", "p1")])
    run("logits", folder, "--tokens", ids, "--out", "l.safetensors", "--dtype", "f32", "--hidden")
    got = load_file("l.safetensors")
    logits = max(abs(got[f"logits.{i}"] - want[f"p{i}.logits"]).max() for i in (0, 1))
    states = [k[3:] for k in want if k.startswith("p0.") and k[3:] + ".0" in got and k != "p0.logits"]
    hidden = max(abs(got[k + ".0"] - want["p0." + k]).max() / abs(want["p0." + k]).max() for k in states)
    text = json.loads(run("generate", folder, "--tokens", ids, "--max-tokens", "24", "--dtype", "f32", "--json"))["ids"]
    agree = 0
    for i in (0, 1):
        greedy, margin = want.get(f"p{i}.greedy_cached", want[f"p{i}.greedy"]), want[f"p{i}.margin"]
        sure = next((t for t in range(24) if margin[t] <= 1e-3), 24)
        agree += text[i][:sure] == greedy[:sure].tolist()
    return f"logits {logits:.1e}  hidden {hidden:.1e}  greedy {agree} of 2"


def train(folder):
    import peft, torch, transformers
    ids = [[(i * 7 + 2) % 90 for i in range(30)]]
    with open("rows.jsonl", "w") as rows:
        for r in range(8):
            rows.write(json.dumps({"input_ids": [(t * t + r * 5 + 3) % 90 + 1 for t in range(20 + r)]}) + "\n")
    subprocess.run(["rm", "-rf", "out", "merged"])
    recipe = {"base_model": folder, "adapter": "lora", "datasets": [{"path": "rows.jsonl", "type": "tokens"}],
              "dtype": "f32", "lora_r": 4, "lora_alpha": 16, "micro_batch_size": 4, "max_steps": 4,
              "learning_rate": 0.02, "output_dir": "out"}
    json.dump(recipe, open("recipe.yaml", "w"))
    run("train", "recipe.yaml")
    run("logits", folder, "--adapter", "out", "--tokens", ids_file(ids), "--out", "l.safetensors", "--dtype", "f32")
    run("merge", folder, "out", "merged", "--dtype", "f32")
    mine = load_file("l.safetensors")["logits.0"]
    load = lambda d: transformers.AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = lambda m: m(torch.tensor(ids)).logits[0].numpy()
        base, merged = load(folder), logits(load("merged"))
        plain = logits(base)
        adapted = logits(peft.PeftModel.from_pretrained(base, "out").eval())
    return (f"moved {abs(adapted - plain).max():.1f}  PEFT {abs(adapted - mine).max():.1e}  "
            f"merged {abs(merged - mine).max():.1e}")


for name in sorted(os.listdir(root)):
    folder = os.path.join(root, name)
    if not os.path.exists(folder + "/golden.safetensors") or name == "bert":
        continue
    try:
        print(f"{name:26s}", train(folder) if "--train" in sys.argv else forward(folder), flush=True)
    except RuntimeError as refused:
        print(f"{name:26s} {refused}", flush=True)
