#!/usr/bin/env bash
# The server as its users meet it: a random tiny model, curl, the official Python client, signals.
# Prints "ok NAME", "FAIL NAME" or "skipped: NAME: why".
set -uo pipefail
nibble=${NIBBLE_BINARY:-build/release/nibble}
work=$(mktemp -d)
server=
end() { [[ -n $server ]] && kill -9 "$server" 2>/dev/null; rm -rf "$work"; }
trap end EXIT
status=0
ok() { echo "ok serve: $1"; }
fail() { echo "FAIL serve: $1"; status=1; [[ -n ${2:-} ]] && echo "  $2"; }
has() {  # NAME TEXT PIECE: TEXT holds PIECE
  if [[ $2 == *"$3"* ]]; then ok "$1"; else fail "$1" "no '$3' in: ${2:0:400}"; fi
}
is() { if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1" "'$2' is not '$3'"; fi; }

cat >"$work/config.json" <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 96, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 2048, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
 "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
 "initializer_range": 0.2}
JSON
if ! "$nibble" bench make-model "$work/config.json" "$work/tiny" --seed 7 >"$work/made" 2>&1; then
  fail "make-model" "$(cat "$work/made")"
  exit 1
fi

start() {  # extra flags; sets $server, $url
  : >"$work/log"
  "$nibble" serve "$work/tiny" --dtype f32 --port 0 --threads 1 "$@" >"$work/out" 2>"$work/log" &
  server=$!
  for _ in $(seq 400); do
    url=$(sed -n 's|^listening on \(http://[^ ]*\)$|\1|p' "$work/log")
    [[ -n $url ]] && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  fail "starts" "$(cat "$work/log")"
  exit 1
}
stop() {  # SIGTERM; sets $code
  kill -TERM "$server"
  wait "$server"
  code=$?
  server=
}
json=(-H 'Content-Type: application/json')
post() { curl -sS --max-time 60 "$url$1" "${json[@]}" -d "$2"; }
code_of() { curl -sS --max-time 60 -o /dev/null -w '%{http_code}' "$@"; }
token_ids() { grep -o '"token_ids":\[[0-9,]*\]' | sed 's/.*\[//;s/\]//' | grep . | paste -sd, -; }

start
ok "says where it listens"
has "models" "$(curl -sS "$url/v1/models")" '"id":"tiny"'
is "health" "$(code_of "$url/health")" 200

ask='{"model":"tiny","prompt":[1,5,9],"max_tokens":8,"temperature":0,"ignore_eos":true'
whole=$(post /v1/completions "$ask}")
has "completion" "$whole" '"completion_tokens":8'
ids=$(token_ids <<<"$whole")
is "greedy is repeatable" "$(post /v1/completions "$ask}" | token_ids)" "$ids"
echo '[[1,5,9]]' >"$work/ids.json"
offline=$("$nibble" generate "$work/tiny" --dtype f32 --tokens "$work/ids.json" --max-tokens 8 --json)
is "the ids of nibble generate" "$ids" "$(tr -d ' ' <<<"$offline" | sed 's/.*\[\[//;s/\]\].*//')"
stream=$(post /v1/completions "$ask,\"stream\":true,\"stream_options\":{\"include_usage\":true}}")
has "a stream ends with [DONE]" "$(tail -2 <<<"$stream")" 'data: [DONE]'
has "a stream has usage when asked" "$stream" \
  '"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":8,"total_tokens":11'
is "a stream gives the same ids" "$(token_ids <<<"$stream")" "$ids"
has "n choices" "$(post /v1/completions '{"model":"tiny","prompt":[1],"n":3,"seed":5,"max_tokens":4}')" \
  '"index":2'
has "prompt logprobs" \
  "$(post /v1/completions '{"model":"tiny","prompt":[1,5],"max_tokens":0,"echo":true,"logprobs":2}')" \
  '"token_logprobs":[null,-'

while read -r bad; do
  answer=$(curl -sS -w ' %{http_code}' "$url/v1/completions" "${json[@]}" -d "$bad")
  if [[ $answer == '{"error":{"message":"'*' 400' ]]; then
    ok "400 for $bad"
  else
    fail "400 for $bad" "$answer"
  fi
done <<'BAD'
{
{"model":"tiny"}
{"model":"tiny","prompt":[96]}
{"model":"tiny","prompt":[-1]}
{"model":"tiny","prompt":"text"}
{"model":"tiny","prompt":[1],"max_tokens":2048}
{"model":"tiny","prompt":[1],"temperature":1e400}
{"model":"tiny","prompt":[1],"top_p":0}
{"model":"tiny","prompt":[1],"logit_bias":{"1":5}}
{"model":"tiny","prompt":[1],"prompt":[2]}
BAD
is "an unknown model is 404" \
  "$(code_of "$url/v1/completions" "${json[@]}" -d '{"model":"x","prompt":[1]}')" 404
is "an unknown route is 404" "$(code_of "$url/v2")" 404
is "a wrong verb is 405" "$(code_of "$url/v1/completions")" 405
is "a foreign host is 403" "$(code_of "$url/v1/models" -H 'Host: evil.example')" 403
head -c 34000000 /dev/zero | tr '\0' ' ' >"$work/big"
is "a big body is 413" "$(code_of "$url/v1/completions" "${json[@]}" --data-binary "@$work/big")" 413

timeout 0.7 curl -sS -N "$url/v1/completions" "${json[@]}" \
  -d '{"model":"tiny","prompt":[1],"max_tokens":2000,"ignore_eos":true,"stream":true,"n":8}' \
  >/dev/null 2>&1
for _ in $(seq 100); do
  metrics=$(curl -sS "$url/metrics")
  [[ $metrics == *'nibble_kv_blocks_used{model_name="tiny"} 0'* ]] && break
  sleep 0.1
done
has "a client that leaves frees its blocks" "$metrics" 'nibble_kv_blocks_used{model_name="tiny"} 0'
has "metrics count answers" "$metrics" \
  'nibble_http_requests_total{handler="/v1/completions",method="POST",status="200"}'
has "metrics count tokens" "$metrics" '# TYPE nibble_generation_tokens_total counter'

# The official client, when it can be had.
if python3 -m venv "$work/venv" >/dev/null 2>&1 &&
  timeout 240 "$work/venv/bin/pip" install -q --disable-pip-version-check openai >"$work/pip" 2>&1; then
  cat >"$work/client.py" <<'PY'
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
assert [m.id for m in client.models.list()] == ["tiny"]
assert client.models.retrieve("tiny").max_model_len == 2048
same = dict(model="tiny", prompt=[1, 5, 9], max_tokens=6, temperature=0, extra_body={"ignore_eos": True})
whole = client.completions.create(logprobs=2, **same)
assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 6, whole
assert len(whole.choices[0].logprobs.token_logprobs) == 6
ids, usage = [], None
for chunk in client.completions.create(stream=True, stream_options={"include_usage": True}, **same):
    for choice in chunk.choices:
        ids += choice.token_ids
    usage = chunk.usage or usage
assert ids == whole.choices[0].token_ids and usage.total_tokens == 9, (ids, usage)
for arguments, error in (
    (dict(model="nope", prompt=[1]), openai.NotFoundError),
    (dict(model="tiny", prompt=[1], temperature=-1), openai.BadRequestError),
    (dict(model="tiny", prompt=[1] * 3000), openai.BadRequestError),
):
    try:
        client.completions.create(**arguments)
    except error as e:
        assert isinstance(e.code, str), e.code
    else:
        raise SystemExit("no error for %s" % list(arguments))
try:
    client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hi"}])
except openai.BadRequestError as e:
    assert e.param == "messages"
else:
    raise SystemExit("a model without a tokenizer cannot chat")
PY
  if problem=$("$work/venv/bin/python" "$work/client.py" "$url" 2>&1); then
    ok "openai's Python client"
  else
    fail "openai's Python client" "$problem"
  fi
else
  echo "skipped: serve: openai's Python client: PyPI is not reachable"
fi

# SIGTERM finishes what runs.
curl -sS -N "$url/v1/completions" "${json[@]}" \
  -d '{"model":"tiny","prompt":[1],"max_tokens":400,"ignore_eos":true,"stream":true}' \
  >"$work/last" 2>&1 &
reader=$!
for _ in $(seq 200); do
  [[ -s $work/last ]] && break
  sleep 0.02
done
stop
wait "$reader"
is "SIGTERM ends with 0" "$code" 0
has "SIGTERM lets the stream finish" "$(tail -2 "$work/last")" 'data: [DONE]'
if grep -q '"error"' "$work/last"; then
  fail "a drained stream has no error"
else
  ok "a drained stream has no error"
fi
is "nothing on standard output" "$(cat "$work/out")" ""

# Keys, names, mistakes.
echo 'sesame' >"$work/keys"
start --api-key-file "$work/keys" --served-model-name other --max-model-len 64
is "no key is 401" "$(code_of "$url/v1/models")" 401
is "health needs no key" "$(code_of "$url/health")" 200
has "the key opens" "$(curl -sS "$url/v1/models" -H 'Authorization: Bearer sesame')" '"id":"other"'
"$nibble" serve "$work/tiny" --port "${url##*:}" >/dev/null 2>"$work/taken"
is "a taken port is exit 73" "$?" 73
has "and the message says what to do" "$(cat "$work/taken")" "--port"
stop
is "SIGTERM when idle ends with 0" "$code" 0
"$nibble" serve "$work/tiny" --host 0.0.0.0 --port 0 >/dev/null 2>"$work/open"
is "an open address without a key is refused" "$?" 2
has "and the message names the cure" "$(cat "$work/open")" "--api-key-file"
"$nibble" serve "$work/tiny" --enable-prefix-caching >/dev/null 2>"$work/later"
is "flags of later are refused" "$?" 2
has "by name" "$(cat "$work/later")" "not supported yet"
exit $status
