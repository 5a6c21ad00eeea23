"""Starting commands as processes of their own: python, mpirun, snakemake."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ROOT
from unisono import launch


def python(arguments: Sequence[str | Path]) -> None:
    """Run this Python on the working tree. Raises RuntimeError with the end of what it said where it fails."""
    _run([sys.executable, *map(str, arguments)])


def mpirun(ranks: int, arguments: Sequence[str | Path]) -> None:
    """Run so many ranks of this Python."""
    beside = Path(sys.executable).parent / "mpirun"
    program = str(beside) if beside.exists() else "mpirun"
    _run([program, "-n", str(ranks), sys.executable, *map(str, arguments)])


def snakemake(folder: Path, cores: int, rules: Sequence[str], target: str, *more: str) -> None:
    """Make a target of the workflow in a folder that holds bench.yaml; only by these rules, from files that are there.

    more: further flags.
    """
    python(
        ["-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, "--cores", str(cores),
         "--configfile", folder / "bench.yaml", *more, "--allowed-rules", *rules, "--", target]
    )  # fmt: skip


def _run(command: list[str]) -> None:
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "PYTHONNOUSERSITE": "1"}
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = launch.environment(os.environ) | paths | {"PATH": bin_first}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:8])} ... ended with {done.returncode}:\n{done.stdout[-2000:]}")
