#!/usr/bin/env bash
# Make a second environment for the tests on SLURM, on top of the first by a path file: bash envs/slurm.sh [FOLDER [PYTHON]]
# The plugin is kept out of .venv: it asks the controller at every start of snakemake.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-.venv-slurm}
python=${2:-.venv/bin/python}

wanted="$(cat requirements-slurm.lock) $("$python" -c 'import sys; print(sys.prefix)')"
[ "$(cat "$folder/.complete" 2>/dev/null)" != "$wanted" ] || exit 0

rm -rf "$folder"
"$python" -m venv --without-pip "$folder"
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$packages/from_venv.pth"
"$python" -m pip --disable-pip-version-check --no-input install --quiet --progress-bar off --no-deps --target "$packages" \
    -r requirements-slurm.lock
# Commands of this environment, not of the one below; mpirun finds its own libraries.
here=$(cd "$folder" && pwd -P)
for name in snakemake unisono pip; do printf '#!/bin/sh\nexec "%s/bin/python" -m %s "$@"\n' "$here" $name >"$folder/bin/$name"; done
mpirun=$(dirname "$python")/mpirun
[ ! -e "$mpirun" ] || printf '#!/bin/sh\nexec "%s" "$@"\n' "$mpirun" >"$folder/bin/mpirun"
chmod +x "$folder"/bin/{snakemake,unisono,pip}
[ ! -e "$folder/bin/mpirun" ] || chmod +x "$folder/bin/mpirun"
echo "$wanted" >"$folder/.complete"
