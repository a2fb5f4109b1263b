#!/usr/bin/env bash
# clang-tidy over the .cpp files named, skipping those that were clean before: what a file looks like
# to the compiler, comments included, and the checks asked for are remembered by their hash.
#   scripts/tidy.sh FILE…            needs a configured build/asan (compile commands)
set -uo pipefail
cd "$(dirname "$0")/.."
cache=${NIBBLE_TIDY_CACHE:-$HOME/.cache/nibble-tidy}
mkdir -p "$cache"
export cache

one() {
  local file=$1 command hash said
  command=$(python3 - "$file" <<'PY'
import json, os, sys
for entry in json.load(open("build/asan/compile_commands.json")):
    if os.path.samefile(entry["file"], sys.argv[1]) if os.path.exists(entry["file"]) else False:
        words = entry["command"].split()
        while not os.path.basename(words[0]).startswith("clang"): words.pop(0)
        out = []
        skip = False
        for word in words:
            if skip: skip = False
            elif word in ("-o", "-MT", "-MF"): skip = True
            elif word not in ("-c", "-MD"): out.append(word)
        print(entry["directory"], *out)
        break
PY
)
  [[ -n $command ]] || { echo "$file: error: not in build/asan/compile_commands.json"; return; }
  read -r folder rest <<<"$command"
  # Without the paths, which differ from clone to clone.
  hash=$({ (cd "$folder" && $rest -E -C -w 2>/dev/null) | grep -v '^# ' | sed "s#$PWD##g"; cat .clang-tidy; } |
    sha256sum | cut -c1-40)
  [[ -e $cache/$hash ]] && return
  said=$(clang-tidy-14 -p build/asan --quiet "$file" 2>/dev/null | grep -E 'error:|warning:')
  if [[ -n $said ]]; then echo "$said"; else : >"$cache/$hash"; fi
}
export -f one

said=$(printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 bash -c 'one "$1"' _)
[[ -z $said ]] && exit 0
echo "$said" | sort -u | head -60
exit 1
