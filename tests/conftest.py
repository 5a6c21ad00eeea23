"""Fixtures for all tests, and a closing line that says what was skipped and why."""

import collections
import os
import subprocess
import sys
from pathlib import Path

# Set before numpy or torch is imported anywhere: results and timings must not depend on the cores of the machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
# An installed but stopped SLURM delays each start of snakemake by ten seconds.
os.environ.setdefault("SLURM_CONF", "/dev/null")

import hypothesis
import pytest

from unisono import launch

ROOT = Path(__file__).resolve().parent.parent
# For the processes that tests start: `python -m unisono` means this working tree.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "src")] + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
)

hypothesis.settings.register_profile("default", derandomize=True, deadline=None, max_examples=40, database=None)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=10_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def root():
    """Folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def corpora_dir():
    """Folder that holds the real corpora (CORPORA_DIR, default `corpora`); the test is skipped where there is none."""
    path = Path(os.environ.get("CORPORA_DIR", "corpora"))
    path = path if path.is_absolute() else ROOT / path
    if not path.is_dir():
        pytest.skip("no real corpora (CORPORA_DIR)")
    return path


@pytest.fixture(scope="session")
def mpirun():
    """Start `n` ranks of this Python: mpirun(2, ["-m", "mpi4py", ...]) -> CompletedProcess with text."""
    program = Path(sys.executable).parent / "mpirun"
    if not program.exists():
        pytest.skip("no mpirun beside this Python")

    def run(n, arguments, timeout=120, env=None, **keywords):
        return subprocess.run(
            [str(program), "-n", str(n), sys.executable, *map(str, arguments)],
            env={**os.environ, **launch.OPEN_MPI, **(env or {})},
            timeout=timeout,
            capture_output=True,
            text=True,
            preexec_fn=launch.forget_namesake,
            **keywords,
        )

    return run


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A SLURM of two nodes; with accounting in `make test-slurm`."""
    from tests.support import slurm as support

    accounting = os.environ.get("SLURM_BOX") == "accounting"
    if reason := support.missing(accounting):
        pytest.skip(reason)
    try:
        box = support.Slurm(tmp_path_factory.mktemp("slurm"), accounting)
    except support.Absent as reason:
        pytest.skip(str(reason))
    try:
        yield box
    finally:
        box.stop()


def pytest_terminal_summary(terminalreporter):
    reasons = collections.Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        listed = "; ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        terminalreporter.write_line(f"skipped {sum(reasons.values())}: {listed}")
