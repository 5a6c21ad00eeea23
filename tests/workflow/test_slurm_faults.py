"""Faults of a SLURM: jobs cancelled, requeued, drained, cut at their time limit; the controller gone, the head killed.

Each ends in the bytes of the local run.
"""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

LONG = 120  # iterations that take longer than a minute
FAULTS = ("scancel", "requeue", "drain", "controller", "head")
RUNS = """
schedule: {{kind: exponential, final_learning_rate: 0.0005, epochs: null, iterations: {iterations}}}
runs:
  here: {{parallel: {{engine: virtual}}}}
"""


def final(run):
    return f"results/spoken_small/runs/{run}/final.safetensors"


def starts(runs):
    return [f"results/spoken_small/runs/{run}/iterations/init.{name}" for run in runs
            for name in ("combine.safetensors", "state.json")]  # fmt: skip


def prepared(workspace, finished, text, runs):
    """Train `here` and make the first models of all runs, by local jobs; return the config files."""
    configs = [*finished.command()[-1:], workspace.config("mine.yaml", text)]
    process = workspace.run(final("here"), *starts(runs), "--notemp", config=configs)
    assert process.returncode == 0, process.stdout[-4000:]
    return configs


class Head:
    """A snakemake with the profile of SLURM, in the background; killed at the end if it is still there."""

    def __init__(self, slurm, workspace, configs, *arguments):
        self.log = workspace.folder / "head.log"
        command = slurm.snakemake(workspace, *arguments, configs=configs)
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                command, env=slurm.env, cwd=workspace.folder, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.kill()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ends(self, seconds=900):
        assert self.process.wait(timeout=seconds) == 0, self.log.read_text()[-6000:]


@pytest.fixture(scope="module")
def trained(slurm, finished, make_workspace, tmp_path_factory):
    """A workspace with the local run, and a run for each fault that has its first model."""
    folder = tmp_path_factory.mktemp("faults") / "copy"
    subprocess.run(["cp", "-a", finished.folder, folder], check=True)
    workspace = make_workspace(folder)
    text = RUNS.format(iterations=2) + "".join(f"  {fault}: {{}}\n" for fault in FAULTS)
    return workspace, prepared(workspace, finished, text, FAULTS)


def strike(slurm, fault, number):
    """Do harm to a job that runs."""
    if fault == "scancel":
        slurm.ask("scancel", number)
    elif fault == "requeue":
        slurm.ask("scontrol", "requeue", number)
    elif fault == "drain":
        slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    elif fault == "controller":
        # At a kill -9 SLURM itself would forget the jobs of its last seconds.
        os.kill(int((slurm.folder / "slurmctld.pid").read_text()), signal.SIGTERM)
        time.sleep(8)
        (slurm.folder / "slurmctld.pid").unlink(missing_ok=True)
        slurm.start()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_no_byte(slurm, trained, fault):
    workspace, configs = trained
    with Head(slurm, workspace, configs, final(fault)) as head:
        number = slurm.wait_for_job(f"rule_train_job_wildcards_{fault}_")
        strike(slurm, fault, number)
        if fault == "head":
            head.kill()
            assert slurm.jobs(), "its jobs go on"
        else:
            head.ends()
    if fault == "head":
        listed = slurm.ask(slurm.python, "-m", "unisono", "doctor", "--jobs", cwd=workspace.folder)
        assert re.search(r"job \d+ \w+: train_job head", listed), listed
        slurm.ask(*slurm.snakemake(workspace, "--unlock", configs=configs), cwd=workspace.folder)
        with Head(slurm, workspace, configs, final(fault)) as head:
            head.ends()
    if fault == "drain":
        slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
    assert (workspace.folder / final(fault)).read_bytes() == (workspace.folder / final("here")).read_bytes()


@pytest.mark.parametrize("engine", ["virtual", "sync"])
def test_a_time_limit_is_one_more_start(slurm, finished, copied, engine):
    """The job gets USR1 before its limit, saves, and is submitted again; so often as it takes."""
    text = RUNS.format(iterations=LONG) + (
        f"  cut: {{parallel: {{engine: {engine}}}}}\n"
        "network: {kind: dnn, hidden: [256, 256, 256], nonlinearity: relu, context: [5, 5]}\n"
    )
    configs = prepared(copied, finished, text, ["cut"])
    rule = f"train_{engine}"
    limits = [f"{rule}:runtime=1"]
    if engine == "virtual":
        limits.append(f"{rule}:slurm_extra=\"'--signal=USR1@25'\"")
    with Head(slurm, copied, configs, final("cut"), "--retries", "20", "--set-resources", *limits) as head:
        head.ends(1500)
    log = (copied.results / f"logs/train/cut/block.{LONG - 1}.log").read_text()
    assert "going on from" in log, "it was never cut: make the network larger"
    assert (copied.folder / final("cut")).read_bytes() == (copied.folder / final("here")).read_bytes()


def test_one_allocation_goes_back_into_the_queue_before_its_limit(slurm, root, finished, copied):
    text = RUNS.format(iterations=LONG) + (
        "  cut: {parallel: {engine: virtual}}\n"
        "network: {kind: dnn, hidden: [256, 256, 256], nonlinearity: relu, context: [5, 5]}\n"
    )
    configs = prepared(copied, finished, text, ["cut"])
    words = ["sbatch", "--parsable", "--cpus-per-task=2", "--mem=4G", "--time=2", "--signal=B:USR1@60"]
    words += [
        root / "profiles/slurm/allocation.sh",
        final("cut"),
        "--snakefile",
        root / "Snakefile",
        "--configfile",
        *configs,
    ]
    number = int(slurm.ask(*words, cwd=copied.folder))
    deadline = time.monotonic() + 900
    while number in slurm.jobs("PENDING", "RUNNING", "COMPLETING"):  # a job that is requeued is completing first
        assert time.monotonic() < deadline
        time.sleep(1)
    log = (copied.folder / f"unisono-{number}.log").read_text()
    assert "back into the queue" in log, log[-3000:]
    assert (copied.folder / final("cut")).read_bytes() == (copied.folder / final("here")).read_bytes(), log[-3000:]
