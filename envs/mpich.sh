#!/usr/bin/env bash
# Make .venv-mpich: MPICH's wheel and its own mpi4py, everything else taken from .venv by a path file. Other ones than these
# two: bash envs/mpich.sh FOLDER PYTHON
# Two MPI wheels must never share one environment: both bring bin/mpirun.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=${1:-.venv-mpich}
python=${2:-.venv/bin/python}
mpich=mpich==5.0.2
pin=$(grep '^mpi4py==' requirements.lock)
wanted="$mpich $pin $("$python" -c 'import sys; print(sys.prefix)')"
[ "$(cat "$folder/.complete" 2>/dev/null)" != "$wanted" ] || exit 0

rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --progress-bar off "$mpich" "$pin"
# A .pth line comes behind the environment's own packages, so its mpi4py wins. That of the other environment is read, too.
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
below=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat - "$below"/from_venv.pth 2>/dev/null <<<"$below" >"$packages/from_venv.pth" || true
echo "$wanted" >"$folder/.complete"
