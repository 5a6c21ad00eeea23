"""kill -9 of anyone who takes part: the command of a job ends with whoever waits for it, and nothing stays behind."""

import os
import signal
import time

import pytest
from rig import Workflow, children_of, is_alive, wait_for

LIMIT_S = 20.0  # of a test on a machine with other work; an idle one needs one second at most
COMMANDS = ("sleep", "stubborn", "pool")


def kill(workflow, shell, victim):
    pids = {
        "client": lambda: workflow.client(shell),
        "shell": lambda: shell.pid,
        "server": lambda: workflow.server_pid,
        "snakemake": lambda: workflow.holder.pid,
    }
    os.kill(pids[victim](), signal.SIGKILL)


def leave_nothing(workflow, victim, do):
    """Kill one of those who take part; returns the seconds until nothing of the job was there."""
    shell, pids = workflow.at_work(do, before="trap : EXIT;")  # with a trap the shell cannot become the client
    client, server = workflow.client(shell), workflow.server_pid
    assert client != shell.pid and all(map(is_alive, [client, server, *pids]))
    kill(workflow, shell, victim)
    begun = time.monotonic()
    gone = [client, *pids, *([server] if victim in ("server", "snakemake") else [])]
    wait_for(lambda: not any(map(is_alive, gone)), LIMIT_S)
    took = time.monotonic() - begun
    assert shell.wait(LIMIT_S) != 0
    shell.communicate()
    if victim == "snakemake":
        assert not os.path.exists(os.path.dirname(workflow.socket))
        workflow.holder.wait()
    elif victim != "server":
        assert workflow.is_served(), "other jobs have gone on"
        assert not children_of(server)
    return took


@pytest.mark.parametrize("do", COMMANDS)
@pytest.mark.parametrize("victim", ["client", "shell"])
def test_a_job_ends_with_its_client_and_shell(shared, victim, do):
    leave_nothing(shared, victim, do)


@pytest.mark.parametrize(("victim", "do"), [("server", "pool"), ("snakemake", "stubborn")])
def test_all_end_with_server_and_snakemake(workflow, victim, do):
    leave_nothing(workflow, victim, do)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["client", "shell", "server", "snakemake"])
def test_twenty_times(tmp_path, package, victim, record_property):
    workflow, took = None, []
    for number in range(20):
        if workflow is None or victim in ("server", "snakemake"):
            (tmp_path / str(number)).mkdir()
            workflow = Workflow(tmp_path / str(number), package)
        took.append(leave_nothing(workflow, victim, COMMANDS[number % 3]))
        if victim in ("server", "snakemake"):
            workflow.close()
    workflow.close()
    print(f"kill -9 of the {victim}, 20 times: nothing left after {max(took):.2f} s at most")


def test_a_job_that_came_too_early_does_not_keep_the_server(workflow):
    """Snakemake is killed while torch is being imported, or soon after, and a job waits for that."""
    shell = workflow.job("probe", "--do", "exit 0")
    wait_for(lambda: workflow.server_pid)
    server = workflow.server_pid
    workflow.holder.kill()
    wait_for(lambda: not is_alive(server), LIMIT_S)
    shell.communicate(timeout=60)


def test_only_the_job_whose_client_is_killed_ends(shared):
    one, (first,) = shared.at_work("sleep")
    other, (second,) = shared.at_work("catch")
    os.kill(shared.client(one), signal.SIGKILL)
    wait_for(lambda: not is_alive(first), LIMIT_S)
    assert is_alive(second)
    os.kill(shared.client(other), signal.SIGUSR1)
    assert other.wait(60) == 40 + signal.SIGUSR1
    one.communicate()


def test_a_job_that_has_ended_is_not_waited_for(shared):
    """Thirty jobs, one after the other: no descriptor and no process of theirs stays with the server."""
    assert shared.is_served()
    server = shared.server_pid
    before = len(os.listdir(f"/proc/{server}/fd"))
    for number in range(30):
        assert shared.run("probe", "--do", f"exit {number}")[0] == number
    assert len(os.listdir(f"/proc/{server}/fd")) == before and not children_of(server)
