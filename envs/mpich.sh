#!/usr/bin/env bash
# Make .venv-mpich: MPICH's wheel and its own mpi4py, everything else taken from .venv by a path file.
# Two MPI wheels must never share one environment: both bring bin/mpirun.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mpich=mpich==5.0.2
pin=$(grep '^mpi4py==' requirements.lock)
wanted="$mpich $pin $(cat .venv/.complete 2>/dev/null)"
[ "$(cat .venv-mpich/.complete 2>/dev/null)" != "$wanted" ] || exit 0

rm -rf .venv-mpich
.venv/bin/python -m venv .venv-mpich
.venv-mpich/bin/python -m pip --disable-pip-version-check --no-input install --quiet --progress-bar off "$mpich" "$pin"
# A .pth line comes behind the environment's own packages, so its mpi4py wins.
packages=$(.venv-mpich/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$packages/from_venv.pth"
echo "$wanted" >.venv-mpich/.complete
