#!/usr/bin/env bash
# Install the Debian tools that some tests compare with, where that is possible without asking: as root, with apt-get.
# Never fails: a tool that is missing afterwards costs skipped tests, which pytest's closing lines name.
missing=()
[ -x /usr/lib/sctk/bin/sclite ] || missing+=(sctk)
command -v irstlm >/dev/null || missing+=(irstlm)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests: not installed, tests that need them are skipped: ${missing[*]}" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
install() {
    timeout 300 apt-get install --yes --quiet=2 --no-install-recommends "$@" >/dev/null 2>&1
}
install "${missing[@]}" || { timeout 120 apt-get update --quiet=2 >/dev/null 2>&1 && install "${missing[@]}"; } ||
    echo "tests: apt-get could not install, tests that need them are skipped: ${missing[*]}" >&2
exit 0
