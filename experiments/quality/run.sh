#!/bin/sh
# run.sh NIBBLE STORIES.jsonl TOKENIZER_DIR OUT: trains the model, then measures it in every format.
# About ten minutes on two quiet cores.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
nibble=$(realpath "$1") stories=$(realpath "$2") tokenizer=$(realpath "$3")
mkdir -p "$4"
cd "$4"
head -n 800 "$stories" > train.jsonl
tail -n +801 "$stories" > held-out.jsonl
python3 "$here/make_choices.py" held-out.jsonl questions.jsonl
"$nibble" bench make-model "$here/config.json" start --seed 1
cp "$tokenizer"/tokenizer* start/
"$nibble" train "$here/pretrain.yaml"
mkdir -p formats
python3 "$here/measure.py" "$nibble" run held-out.jsonl questions.jsonl 256 formats
python3 "$here/errors.py" "$nibble" run > errors.json
python3 "$here/plot.py" errors.json "a Llama of 10.8M parameters" > error.svg
