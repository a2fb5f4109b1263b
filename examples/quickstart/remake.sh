#!/usr/bin/env bash
# Remakes everything beside it: the tokenizer, the text, the base model (trained from random weights
# by nibble itself) and the fine-tuning data. Minutes on two cores.
#   examples/quickstart/remake.sh [NIBBLE]     NIBBLE: the program, default build/release/nibble
set -euo pipefail
cd "$(dirname "$0")/../.."
nibble=${1:-build/release/nibble}
here=examples/quickstart
work=out/quickstart-base
[[ -x $nibble ]] || { echo "remake: no program at $nibble; build it first" >&2; exit 1; }

rm -rf "$work"
mkdir -p "$work"
python3 $here/make_text.py finetune $here/train.jsonl $here/held-out.jsonl
python3 $here/make_text.py pretrain $work/pretrain.jsonl
"$nibble" bench make-model $here/config.json $work/start --seed 1
python3 $here/make_text.py tokenizer $work/start
"$nibble" train $here/pretrain.yaml

rm -rf $here/base
mkdir $here/base
for name in config.json model.safetensors tokenizer.json tokenizer_config.json; do
  cp $work/run/$name $here/base/$name
done
echo "wrote     $here/base  ($(du -sk $here/base | cut -f1) KiB)"
