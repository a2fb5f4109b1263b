#!/usr/bin/env bash
# Installs the Debian packages that are missing, says which, and uses sudo only when not root.
#   scripts/install_packages.sh [--checks]     --checks: those of .ci/run as well
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=()
while IFS= read -r line; do
  if [[ $line == "# checks" ]]; then
    [[ ${1:-} == --checks ]] || break
    continue
  fi
  [[ -z $line || $line == \#* ]] || wanted+=("$line")
done < scripts/debian-packages.txt

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "packages  all ${#wanted[@]} are installed"
  exit 0
fi
echo "packages  installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "nibble: this is no Debian system; install these yourself: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || { echo "nibble: run as root, or install sudo" >&2; exit 1; }
  as_root=(sudo)
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { "${as_root[@]}" apt-get update -qq &&
       "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
     >"$log" 2>&1 </dev/null; then
  tail -15 "$log" >&2
  echo "nibble: installing packages failed; the log above says why" >&2
  exit 1
fi
rm -f "$log"
