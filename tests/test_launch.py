"""MPI ranks by any launcher: the allocation that a plugin took out of the environment, signals, the one line."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time

import pytest

from unisono import launch

TWO_NODES = (
    "JobId=3 JobName=wrap NodeList=n[1-2] BatchHost=n1 NumNodes=2 NumCPUs=6 NumTasks=3 CPUs/Task=2 ReqB:S:C:T=0:0:*:*"
    " JOB_GRES=(null)   Nodes=n1 CPU_IDs=0-3 Mem=1024 GRES=   Nodes=n2 CPU_IDs=0-1 Mem=512 GRES= MinCPUsNode=2"
)


def test_the_allocation_is_rebuilt():
    found = launch.allocation(TWO_NODES)
    assert found["SLURM_NODELIST"] == "n[1-2]" and found["SLURM_NNODES"] == "2" and found["SLURM_NTASKS"] == "3"
    assert found["SLURM_TASKS_PER_NODE"] == "2,1" and found["SLURM_CPUS_PER_TASK"] == "2"
    alike = "NodeList=a[1-3,7],b2 NumNodes=5 NumTasks=10 CPUs/Task=1 Nodes=a[1-3,7],b2 CPU_IDs=0,4 Mem=1"
    assert launch.allocation(alike)["SLURM_TASKS_PER_NODE"] == "2(x5)"
    for text in ("", "slurm_load_jobs error: Invalid job id specified", "NodeList=n1 NumNodes=x"):
        assert launch.allocation(text) == {}


def test_only_what_is_missing_is_rebuilt():
    assert launch.environment({"SLURM_JOB_ID": "3"}, TWO_NODES)["SLURM_NODELIST"] == "n[1-2]"
    assert launch.environment({"SLURM_NODELIST": "n9"}, TWO_NODES)["SLURM_NODELIST"] == "n9"
    assert "SLURM_NODELIST" not in launch.environment({})
    assert launch.environment({"OMPI_MCA_osc": "mine"})["OMPI_MCA_osc"] == "mine", "the user's own word counts"


def test_the_warning_comes_before_the_time_limit():
    now = dt.datetime(2026, 11, 29, 12, 0, 0).timestamp()
    assert launch.warning_s(TWO_NODES + " EndTime=2026-11-29T13:00:00 Deadline=N/A", now) == 3600 - 120
    assert launch.warning_s(TWO_NODES + " EndTime=2026-11-29T12:01:00", now) == 40
    assert launch.warning_s(TWO_NODES + " EndTime=2026-11-29T11:00:00", now) == 0
    assert launch.warning_s(TWO_NODES + " EndTime=Unknown", now) is None and launch.warning_s("", now) is None


def test_the_ranks_are_warned(tmp_path):
    """By a scontrol that says when the job ends."""
    end = dt.datetime.now() + dt.timedelta(seconds=5)
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho '{TWO_NODES} EndTime={end:%Y-%m-%dT%H:%M:%S}'\n")
    (tmp_path / "scontrol").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "3"}
    job = launched(tmp_path, WAITS, env=env)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 138 and err == ""


def test_srun_is_told_of_cores_and_deaths():
    words = launch.command_line("srun --mpi=pmix", 4, ["python", "-V"], {"SLURM_CPUS_PER_TASK": "2"})
    assert words == [
        "srun", "--mpi=pmix", "-n", "4", "--kill-on-bad-exit=1", "--cpus-per-task=2", "python", "-V"
    ]  # fmt: skip
    assert launch.command_line("/opt/mpirun", 2, ["x"], {}) == ["/opt/mpirun", "-n", "2", "x"]


def launched(folder, text, ranks=2, env=None):
    """Start a program of ours as the launcher; it gets `-n RANKS` and the command as arguments."""
    program = folder / "mpirun"
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-m", "unisono.launch", str(program), str(ranks), "a", "b"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import sys; print(sys.argv[1:])", 0, ""),
        ("import sys; sys.exit(2)", 2, ""),
        ("import sys; sys.exit(138)", 138, ""),
        ("import sys; sys.exit(137)", 137, "exit code 137, SIGKILL: killed for memory, or from outside"),
        ("import sys; sys.exit(9)", 9, "exit code 9, SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", 139, "exit code 139, SIGSEGV"),
        ("import sys; sys.exit(213)", 213, "exit code 213), and all 2 ranks"),
    ],
)
def test_one_line_where_a_rank_has_died(tmp_path, text, code, said):
    job = launched(tmp_path, text)
    out, err = job.communicate(timeout=60)
    assert job.returncode == code
    assert said in err and len(err.splitlines()) == (1 if said else 0)
    if code == 0:
        assert out.strip() == "['-n', '2', 'a', 'b']"


WAITS = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(138))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_ranks_as_the_one_at_which_they_save(tmp_path, number):
    job = launched(tmp_path, WAITS)
    assert job.stdout.readline().strip() == "ready"
    begun = time.monotonic()
    os.kill(job.pid, number)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 138 and err == "" and time.monotonic() - begun < 10


LEAVES_A_MARK = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(__file__).with_name("ended").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""


def test_ranks_do_not_outlive_a_killed_launcher(tmp_path):
    job = launched(tmp_path, LEAVES_A_MARK)
    assert job.stdout.readline().strip() == "ready"
    job.kill()
    job.wait()
    deadline = time.monotonic() + 10
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_mistakes_are_one_line():
    for words, said in (
        (["mpirun"], "usage:"),
        (["mpirun", "two", "x"], "usage:"),
        (["no-such-mpirun", "2", "x"], "no-such-mpirun: not found: load your cluster's MPI module"),
    ):
        done = subprocess.run([sys.executable, "-m", "unisono.launch", *words], capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


LEFTOVER = """
import os, tempfile, time
from pathlib import Path
from unisono import launch
session = Path(tempfile.gettempdir(), f"ompi.{os.getpid()}")
(session / "0" / "0").mkdir(parents=True)
(session / f"pmix.vm.tool.{os.getpid()}").touch()
launch.forget_namesake()
assert not session.exists()
"""


def test_what_a_killed_mpirun_left_under_the_same_number_is_removed(tmp_path):
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    (tmp_path / "ompi.1").mkdir()
    assert subprocess.run([sys.executable, "-c", LEFTOVER], env=environ, check=False).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["ompi.1"]
