#!/usr/bin/env bash
# Make .venv from requirements.lock and install unisono in it (editable, no dependencies).
#
# Done once, and again when the lock file, pyproject.toml or this script changes: .venv/.complete holds a checksum of all three
# and the folder, since an environment does not work where it was moved to.
# While packages are being installed .venv/.unfinished exists; a folder with that mark was interrupted and is made anew,
# because pip may have left half a package there. A .venv without either mark is somebody's own and is completed in place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'make venv: %s\n' "$1" >&2
    exit 2
}

fits() { # version in range? A pyenv shim exists for versions that are not active, so the interpreter has to be run.
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

choose_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found: install one (Debian: apt-get install python3 python3-venv) or name it: make venv PYTHON=/path/to/python3"
}

checksum() {
    cat requirements.lock pyproject.toml envs/venv.sh | sha256sum | cut -d ' ' -f 1
}

install() { # a line every 15 s; after a failure the end of pip's own words
    local log=.venv/install.log pid seconds=0
    .venv/bin/python -m pip --disable-pip-version-check --no-input install --progress-bar off \
        --retries 5 --timeout "${PIP_DEFAULT_TIMEOUT:-60}" "$@" >>"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 15)) -eq 0 ]; then
            echo "make venv: $(grep -c '^Collecting ' "$log") packages so far, pip says: $(tail -n 1 "$log" | cut -c 1-70)" >&2
        fi
    done
    if ! wait "$pid"; then
        tail -n 15 "$log" >&2
        fail "pip failed (above and in $log): mend the cause, then 'make venv' starts anew"
    fi
}

for tool in sha256sum cut tail; do
    command -v "$tool" >/dev/null || fail "'$tool' not found: install it (Debian: apt-get install coreutils)"
done
# Two commands at once (make demo and make test) must not install side by side.
if [ "${1:-}" != locked ] && command -v flock >/dev/null; then
    exec flock .venv.lock bash envs/venv.sh locked
fi

wanted=$(checksum)
found='' folder=''
[ ! -e .venv/.complete ] || read -r found folder <.venv/.complete
if [ "$found" = "$wanted" ] && [ "$folder" = "$(cd .venv && pwd -P)" ] && fits .venv/bin/python; then
    exit 0
fi

if [ -e .venv/.unfinished ] || { [ -n "$folder" ] && [ "$folder" != "$(cd .venv && pwd -P)" ]; } ||
    { [ -e .venv ] && ! fits .venv/bin/python; }; then
    echo "make venv: .venv is unfinished, was moved, or its Python is gone or of another version: making it anew" >&2
    rm -rf .venv
fi
if [ ! -e .venv ]; then
    python=$(choose_python)
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "'$python' has no venv module: install it (Debian: apt-get install python3-venv)"
    mkdir .venv
    touch .venv/.unfinished
    "$python" -m venv .venv || fail "'$python -m venv .venv' failed (above): see that the disk is writable and not full"
fi
echo "make venv: installing requirements.lock into .venv (some minutes, once)" >&2
rm -f .venv/.complete .venv/install.log
touch .venv/.unfinished
install -r requirements.lock
rm -f .venv/.unfinished # from here on a failure costs no more than this one small package
install --no-deps --no-build-isolation --editable .
echo "$wanted $(cd .venv && pwd -P)" >.venv/.complete
echo "make venv: done; next: source .venv/bin/activate" >&2
