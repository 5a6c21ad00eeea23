#!/usr/bin/env bash
# Install the Debian tools that some tests compare with. Without them those tests are skipped, and counted as such.
set -euo pipefail

fail() {
    printf 'make debian: %s\n' "$1" >&2
    exit 2
}

missing=()
[ -x /usr/lib/sctk/bin/sclite ] || missing+=(sctk)
command -v irstlm >/dev/null || missing+=(irstlm)
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || fail "no apt-get: install ${missing[*]} by hand"
[ "$(id -u)" -eq 0 ] || fail "not root: sudo apt-get install ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    timeout 300 apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
install || { timeout 120 apt-get update --quiet=2 >/dev/null 2>&1 && install; } || {
    tail -n 5 "$log" >&2
    fail "apt-get could not install ${missing[*]} (above)"
}
