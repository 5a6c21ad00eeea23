"""Training by `jobs` with a warm interpreter and without one: the same bytes, also after kill -9."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unisono.data.frames.store_write import write_frames
from unisono.files import write_json

RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose", "finish", "metrics")
TARGET, PLAN = "results/tiny/runs/main/final.safetensors", "results/tiny/runs/main/plan.json"
METRICS = "results/tiny/runs/main/metrics.jsonl"
DIM, PDFS = 40, 30
CONFIG = """
name: tiny
network: {{kind: dnn, hidden: [256, 256], context: [2, 2]}}
optimiser: {{kind: ng_online, minibatch: 256, learning_rate: 0.001}}
schedule: {{epochs: 1}}
parallel: {{workers: 2, combine: bmuf, period_frames: 2000}}
observers: {{ema: {{decay: 0.5}}}}
diagnostics: {{frames: 500}}
resources: {{threads_per_worker: {threads}, warm_interpreter: {warm}}}
"""


def frames(path, utterances, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((PDFS, DIM))
    ids = [rng.integers(0, PDFS, 200, dtype=np.int32) for _ in range(utterances)]
    items = ((f"utt{n:03d}", (centres[i] + rng.standard_normal((200, DIM))).astype("f4"), i) for n, i in enumerate(ids))
    counts = write_frames(path, items, num_pdfs=PDFS, frame_shift_s=0.01, dtype="float16", rows=utterances * 200)
    if path.stem == "train":
        write_json(path.with_name("frames.json"), {"train": counts})


class Training:
    """A run on given frames: only what belongs to training is done."""

    def __init__(self, workspace, warm, threads=1):
        self.workspace, self.results = workspace, workspace.folder / "results" / "tiny"
        workspace.results = self.results
        (self.results / "frames").mkdir(parents=True)
        frames(self.results / "frames" / "train.h5", 40, 1)
        frames(self.results / "frames" / "dev.h5", 5, 2)
        text = CONFIG.format(threads=threads, warm=str(warm).lower())
        self.words = [TARGET, METRICS, "--allowed-rules", *RULES]
        self.options = {"config": workspace.config("tiny.yaml", text), "cores": 2}

    def finish(self):
        process = self.workspace.run(*self.words, **self.options)
        assert process.returncode == 0, process.stdout[-5000:]
        return self

    @property
    def served(self):
        """The jobs that ran in a copy of the warm interpreter."""
        return sorted(path.stem for path in (self.results / "benchmarks").rglob("*.served"))

    def made(self):
        """All files of results that training has left, without what time decides."""
        found = {}
        for path in sorted((self.results / "runs").rglob("*")):
            if path.is_file() and path.suffix != ".tmp":  # a kill -9 leaves what was being written under another name
                text = path.read_bytes()
                if path.suffix in (".json", ".jsonl"):
                    text = [without_times(json.loads(line)) for line in jsons(path)]
                found[str(path.relative_to(self.results))] = text
        return found


def jsons(path):
    text = path.read_text()
    return text.splitlines() if path.suffix == ".jsonl" else [text]


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if not key.startswith("seconds")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def cold(tmp_path_factory, make_workspace):
    """The same training in interpreters of its own, by number of threads."""
    made = {}

    def of(threads):
        if threads not in made:
            folder = tmp_path_factory.mktemp(f"cold.{threads}")
            made[threads] = Training(make_workspace(folder), warm=False, threads=threads).finish()
            assert made[threads].served == [] and not (made[threads].results / "logs" / "warm.log").exists()
        return made[threads]

    return of


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_same_bytes_warm_and_cold(workspace, cold, threads):
    warm = Training(workspace, warm=True, threads=threads).finish()
    measured = {path.stem for path in (warm.results / "benchmarks").rglob("*.tsv")}
    assert set(warm.served) == measured and len(measured) > 10, "every job was served"
    assert (warm.results / "logs" / "warm.log").read_text() == ""
    wanted = cold(threads).made()
    found = warm.made()
    assert list(found) == list(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.parametrize("words", [("--software-deployment-method", "env-modules"), ("--no-hooks",)])
def test_a_plain_start_with_environments_of_rules_and_on_a_cluster(workspace, words, monkeypatch):
    """A cluster's job is a snakemake of its own with `--no-hooks`; there is no server for it."""
    # Where rules bring their software, `python` is theirs.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    training = Training(workspace, warm=True)
    process = workspace.run(PLAN, *training.words[1:], *words, **training.options)
    assert process.returncode == 0, process.stdout[-5000:]
    assert training.served == [] and not (training.results / "logs" / "warm.log").exists()


def test_a_dry_run_starts_nothing(workspace):
    training = Training(workspace, warm=True)
    assert workspace.run("--dry-run", *training.words, **training.options).returncode == 0
    assert not (training.results / "logs").exists()


def at_work_in(folder):
    """Return {process: (parent, words of its command line)} of all that work in a folder."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state not in "ZX" and os.readlink(path / "cwd") == str(folder):
                found[int(path.name)] = (int(parent), (path / "cmdline").read_text().split("\0"))
        except OSError:
            continue  # it has just ended
    return found


def find(victim, folder, snakemake):
    """Return a process of this kind, None where there is none at the moment."""
    working = at_work_in(folder)
    server = next(
        (p for p, (parent, words) in working.items() if parent == snakemake and "unisono.warm.server" in words), None
    )
    shells = [pid for pid, (parent, _) in working.items() if parent == snakemake and pid != server]
    clients = [pid for pid, (_, words) in working.items() if words[1:3] == ["-m", "unisono"]]
    copies = [pid for pid, (parent, _) in working.items() if server and parent == server]
    if not copies:
        return None  # no job is at work
    return {"snakemake": snakemake, "server": server, "shell": shells[0] if shells else None,
            "client": clients[0] if clients else None}[victim]  # fmt: skip


def interrupt(training, victim, delay):
    """Start snakemake and kill -9 one who takes part; says whether it failed by that. Nothing may stay behind.

    It does not where all was done before, or where the server was killed between two jobs.
    """
    folder, log = training.workspace.folder, training.workspace.folder / "killed.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            training.workspace.command(*training.words, **training.options), stdout=output, stderr=output, cwd=folder
        )
    pid, due = None, None
    while process.poll() is None and (pid is None or time.monotonic() < due):
        time.sleep(0.02)
        pid = find(victim, folder, process.pid)
        due = due or (time.monotonic() + delay if pid else None)
    if process.poll() is not None or pid is None:
        assert process.wait() == 0, log.read_text()
        return False
    os.kill(pid, signal.SIGKILL)
    code = process.wait(300)
    deadline = time.monotonic() + LIMIT_S
    while at_work_in(folder):
        assert time.monotonic() < deadline, at_work_in(folder)
        time.sleep(0.02)
    if victim == "snakemake":
        assert training.workspace.run("--unlock", config=training.options["config"]).returncode == 0
    return code != 0


LIMIT_S = 20.0  # on a machine with other work


@pytest.mark.parametrize("victim", ["server", "snakemake"])
def test_killed_and_started_again(tmp_path, make_workspace, cold, victim):
    """The first training that is killed while a job is at work."""
    for delay in (0.5, 0.3, 0.7, 0.1, 0.9):
        training = Training(make_workspace(tmp_path / str(delay)), warm=True)
        if interrupt(training, victim, delay):
            break
    else:
        pytest.fail("each time it was killed between two jobs")
    assert training.finish().made() == cold(1).made()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["client", "shell", "server", "snakemake"])
def test_killed_twenty_times(tmp_path, make_workspace, cold, victim):
    rng, kills, runs = random.Random(victim), 0, 0
    while kills < 20:
        runs += 1
        training = Training(make_workspace(tmp_path / str(runs)), warm=True)
        while interrupt(training, victim, rng.uniform(0.0, 1.0)):
            kills += 1
        assert training.made() == cold(1).made(), f"after {kills} kills"
    print(f"kill -9 of the {victim}, {kills} times in {runs} trainings: the same bytes")
