#!/usr/bin/env bash
# The same recipe, data and seed with 32-bit states, 8-bit states, and 8-bit states with the codec of
# bitsandbytes:  run.sh NIBBLE DATA OUT [lora|full …]
# DATA holds models/stories260K/hf and datasets/tinystories-val/stories.jsonl. A run that is there
# already is kept. Then summarize.py OUT > results.svg, its table goes to standard error.
set -euo pipefail
nibble=$(realpath "$1") data=$(realpath "$2") out=$3
shift 3
kinds=${*:-lora full}
here=$(realpath "$(dirname "$0")")
mkdir -p "$out"
cd "$out"
stories=$data/datasets/tinystories-val/stories.jsonl
base=$data/models/stories260K/hf
[[ -e train.jsonl ]] || { head -n 800 "$stories" > train.jsonl; tail -n 100 "$stories" > held-out.jsonl; }

train() {  # NAME optimizer-lines recipe-lines
  [[ -e $1/trainer_state.json ]] && return
  printf '%s\n' "datasets: [{path: train.jsonl, type: completion}]" \
    "test_datasets: [{path: held-out.jsonl, type: completion}]" "dtype: f32" "output_dir: $1" \
    "sample_packing: true" "sequence_len: 256" "lr_scheduler: cosine" "weight_decay: 0.01" \
    "min_8bit_size: 0" "logging_steps: 5" "threads: ${THREADS:-1}" "$2" "$3" > "$1.yaml"
  [[ $2 == "optimizer: adamw" ]] && sed -i /min_8bit_size/d "$1.yaml"
  "$nibble" train "$1.yaml" resume_from_checkpoint=auto
}

for kind in $kinds; do
  for seed in 1 2 3; do
    if [[ $kind == lora ]]; then
      lines=$'adapter: qlora\nlora_r: 16\nlora_alpha: 32\nlearning_rate: 5e-3\nwarmup_steps: 20\nmax_steps: 500\nmicro_batch_size: 2\neval_steps: 250'
      lines+=$'\nbase_model: '$base
    else
      [[ -e base-$seed ]] || { "$nibble" bench make-model "$here/config.json" "base-$seed" --seed "$seed"
        cp "$base"/tokenizer* "base-$seed"; }
      lines=$'adapter: full\nlearning_rate: 1e-3\nwarmup_steps: 30\nmax_steps: 300\nmicro_batch_size: 1\neval_steps: 100'
      lines+=$'\nbase_model: base-'$seed
    fi
    lines+=$'\nseed: '$seed
    train "$kind-32bit-$seed" "optimizer: adamw" "$lines"
    train "$kind-default-$seed" "optimizer: adamw_8bit" "$lines"
    train "$kind-bnb-$seed" $'optimizer: adamw_8bit\nstate_codec: bnb' "$lines"
  done
done
