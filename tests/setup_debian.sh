#!/usr/bin/env bash
# Install the Debian tools that some tests compare with or run on. Without them those tests are skipped, and counted as such.
# With `slurm` also what only `make test-slurm` needs: accounting, and Debian's Open MPI.
set -euo pipefail

fail() {
    printf 'make debian: %s\n' "$1" >&2
    exit 2
}

missing=()
[ -x /usr/lib/sctk/bin/sclite ] || missing+=(sctk)
command -v irstlm >/dev/null || missing+=(irstlm)
[ -x /usr/sbin/slurmctld ] && [ -x /usr/sbin/munged ] || missing+=(slurm-wlm munge libpmix2)
if [ "${1:-}" = slurm ]; then
    [ -x /usr/sbin/slurmdbd ] && [ -x /usr/sbin/mariadbd ] || missing+=(slurmdbd mariadb-server)
    [ -x /usr/bin/mpirun.openmpi ] || missing+=(openmpi-bin)
fi
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
