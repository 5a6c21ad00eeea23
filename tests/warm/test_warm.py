"""A command that a warm interpreter runs is what `python -m unisono` would have been; where it is not, that is run."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rig import Workflow, is_alive, wait_for

from unisono import usage

# What a caller or a job may change, so that a copy of the server would not be what it stands for.
OTHERS = {
    "variable": {"environment": {"SOME_LIBRARY_SETTING": "1"}},
    "kernels": {"before": "export ATEN_CPU_CAPABILITY=avx2;"},
    "source": {"before": "export PYTHONPATH=$PWD:$PYTHONPATH;"},
    "folder": {"before": "mkdir -p elsewhere; cd elsewhere;"},
    "umask": {"before": "umask 077;"},
    "launcher": {"python": "python -m mpi4py"},
}


def describe(workflow, *arguments, **keywords):
    path = workflow.folder / "seen.json"
    code, _, errors = workflow.run("probe", "--do", "describe", "--out", path, *arguments, **keywords)
    assert code == 0, errors
    return json.loads(path.read_text())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_copy_is_what_a_fresh_interpreter_is(shared, threads):
    """Environment, arguments, streams, signals, limits, descriptors, threads, no CUDA: all that `described` lists."""
    of_the_job = {"TMPDIR": str(shared.folder), "OMP_NUM_THREADS": "2"}
    warm = describe(shared, "--threads", threads, environment=of_the_job)
    cold = describe(shared, "--threads", threads, environment=of_the_job, warm=False)
    assert warm["environment"].pop("UNISONO_WARM") == shared.socket
    assert warm == cold
    assert warm["torch"][0] == threads and warm["cuda"] == [False, False]
    assert shared.is_served(environment=of_the_job)


def test_bytes_that_are_no_text_arrive(tmp_path, package):
    odd = {"ODD": "\udcff=\n \u0141", "EMPTY": "", "UNISONO_LOG_LEVEL": "DEBUG"}
    workflow = Workflow(tmp_path, package, odd)
    try:
        seen = describe(workflow)["environment"]
        assert {name: seen[name] for name in odd} == odd and workflow.is_served()
        assert workflow.run("no", "\udcff \u0141")[0] == 2
    finally:
        workflow.close()


def test_the_server_has_one_thread_and_no_gpu(shared):
    assert shared.is_served()
    assert len(os.listdir(f"/proc/{shared.server_pid}/task")) == 1
    maps = Path(f"/proc/{shared.server_pid}/maps").read_text()
    assert "libtorch" in maps and "libcuda.so" not in maps and "/dev/nvidia" not in maps
    assert os.stat(Path(shared.socket).parent).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("other", OTHERS)
def test_what_a_copy_would_not_be_is_started_plainly(shared, other):
    assert not shared.is_served(**OTHERS[other])
    assert shared.is_served()


def test_a_refusal_names_what_differs(shared):
    before = shared.refusals()
    shared.is_served(environment={"SOME_SECRET": "abc"})
    said = shared.refusals().removeprefix(before)
    assert said == "refused probe: it differs in SOME_SECRET\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["probe", "--do", "exit 0"], 0),
        (["probe", "--do", "exit 7"], 7),
        (["probe", "--do", "late"], 0),
        (["probe", "--help"], 0),
        (["probe", "--wrong"], 2),
        (["nonsense"], 2),
        (["--version"], 0),
        (["probe", "--do", "die 15"], 128 + 15),
        (["probe", "--do", "die 9"], 128 + 9),
        (["probe", "--do", "die 11"], 128 + 11),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_ends_alike(shared, arguments, code):
    """The shell's exit code, and what is on both streams."""
    warm, cold = (shared.run(*arguments, before=":;", warm=warm) for warm in (True, False))
    assert warm[0] % 256 == cold[0] % 256
    assert warm[1:] == cold[1:] or code > 128
    assert warm[0] in (code, 128 - code)  # a shell that became the command ends by the signal itself


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_signals_arrive(shared, number):
    shell, _ = shared.at_work("catch")
    os.kill(shared.client(shell), number)
    assert shell.wait(60) == 40 + number


def test_an_interrupt_arrives(shared):
    shell, (pid,) = shared.at_work("sleep")
    os.kill(shared.client(shell), signal.SIGINT)
    assert shell.communicate(timeout=60)[1] == "unisono probe: error: interrupted: run the same command again\n"
    assert shell.returncode == 130 and not is_alive(pid)


def test_a_stop_stops_both_and_goes_on(shared):
    shell, (pid,) = shared.at_work("catch")
    client = shared.client(shell)
    os.kill(client, signal.SIGTSTP)
    wait_for(lambda: state(pid) == state(client) == "T")
    os.kill(client, signal.SIGCONT)
    wait_for(lambda: state(pid) != "T")
    os.kill(client, signal.SIGUSR1)
    assert shell.wait(60) == 40 + signal.SIGUSR1


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_messages_go_where_they_went(shared):
    log = shared.folder / "results/test/logs/talk.log"
    said = {}
    for warm in (True, False):
        said[warm] = [shared.run("probe", "--do", "talk", input="from the pipe\n", warm=warm)]
        said[warm] += [shared.run("probe", "--do", "talk", "--log", log, input="x\n", warm=warm), log.read_text()]
    assert said[True] == said[False]
    assert said[True][0] == (0, "from python\nfrom the pipe\n", "aside\nfrom a library\n")
    assert said[True][1] == (0, "", "") and "from a library" in said[True][2]


def test_what_a_job_used_stands_beside_snakemakes_figures(shared):
    log = "results/test/logs/train/main/1.0.log"
    folder = shared.folder / "results/test/benchmarks"
    (folder / "train").mkdir(parents=True, exist_ok=True)
    assert shared.run("probe", "--do", "work", "--log", log)[0] == 0
    found = usage.read(folder, folder / "train" / "main.1.0.tsv")
    assert 1.5 <= float(found["cpu_time"]) < 30 and 300 < float(found["max_rss"]) < 3000
    assert shared.run("probe", "--do", "exit 0", "--log", log, warm=False)[0] == 0
    assert usage.read(folder, folder / "train" / "main.1.0.tsv") == {}, "another run's figures"


def test_many_at_once(shared):
    jobs = [shared.job("probe", "--do", f"exit {number}") for number in range(12)]
    assert [job.wait(60) for job in jobs] == list(range(12))
    assert "refused" not in shared.refusals().rpartition("SOME_SECRET")[2]


@pytest.mark.parametrize("words", [b"", b"\0", b"\0" * 8, b"\0" * 7 + b"\5hello", b"\0" * 7 + b"\3x\0y", b"\xff" * 8])
def test_nonsense_does_no_harm(shared, words):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(shared.socket)
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert shared.is_served()


def test_without_a_server_commands_run_by_themselves(workflow):
    assert workflow.is_served()
    os.kill(workflow.server_pid, signal.SIGKILL)
    wait_for(lambda: not workflow.server_pid)
    assert not workflow.is_served()
    workflow.close()
    assert workflow.run("probe", "--do", "exit 3")[0] == 3


# What Snakemake reads, and what each job starts with.
IMPORTS = """
import sys
before = set(sys.modules)
import unisono.{module}
found = set(sys.modules) - before
print(*{{name.split(".")[0] for name in found}} - sys.stdlib_module_names)
print(*sorted({{"argparse", "ast", "logging", "json", "pathlib", "ctypes"}} & found))
"""


@pytest.mark.parametrize("module", ["__main__", "warm.start"])
def test_a_client_starts_with_a_little_of_the_standard_library(root, module):
    code = IMPORTS.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(root / "src")}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["unisono"]


@pytest.mark.parametrize("folder", ["x" * 100, "short"])
def test_a_socket_with_too_long_a_name_means_plain_starts(tmp_path, package, folder):
    temporary = tmp_path / folder
    temporary.mkdir()
    workflow = Workflow(tmp_path, package, {"TMPDIR": str(temporary)})
    try:
        fits = len(f"{temporary}/unisono-12345678/socket") <= 107
        assert bool(workflow.socket) == workflow.is_served(warm=fits) == fits
        assert ("AF_UNIX path too long" in workflow.refusals()) == (not fits)
        assert fits or list(temporary.iterdir()) == []
    finally:
        workflow.close()
