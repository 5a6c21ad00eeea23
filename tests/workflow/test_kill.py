"""kill -9 of snakemake and its children in any stage; unlock, as the message says, and go on to the same bytes."""

import os
import signal
import subprocess
import time

# A log appears when a job of the stage begins; the job is killed so many seconds later.
STAGES = [
    ("data", "logs/corpus/corpus.log", 0.5),
    ("features", "logs/features/net/train.0.log", 0.3),
    ("hmm", "logs/hmm/mono.log", 1.5),
    ("train", "logs/train/main/1.0.log", 0.0),
    ("combine", "logs/train/main/2.combine.log", 0.5),
    ("decode", "logs/decode/main.last.tune.log", 1.0),
]
SAME = ("hmm/tri/ali.train.h5", "runs/main/final.safetensors", "runs/main/hyp.txt", "gmm/tri/hyp.txt")


def kill_at(workspace, log, delay):
    """Start the pipeline and kill everything of it once `log` has been there for `delay` seconds."""
    with open(workspace.folder / "killed.log", "a") as output:
        process = subprocess.Popen(
            workspace.command(), stdout=output, stderr=output, cwd=workspace.folder, start_new_session=True
        )
        deadline = time.monotonic() + 240
        while not (workspace.results / log).exists():
            assert process.poll() is None and time.monotonic() < deadline, (workspace.folder / "killed.log").read_text()
            time.sleep(0.02)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def unlock(workspace):
    """Take the lock away that a killed snakemake leaves behind."""
    assert workspace.run("--unlock").returncode == 0


def test_killed_in_every_stage(finished, workspace):
    for stage, log, delay in STAGES:
        kill_at(workspace, log, delay)
        if stage == "data":
            locked = workspace.run()
            assert locked.returncode == 1 and "--unlock" in locked.stdout, "the message names the remedy"
        unlock(workspace)
        assert not (workspace.results / "report/summary.txt").exists(), f"{stage}: it was killed too late"
    process = workspace.run()
    assert process.returncode == 0, process.stdout[-6000:]
    for name in SAME:
        assert workspace.bytes(name) == finished.bytes(name), name
