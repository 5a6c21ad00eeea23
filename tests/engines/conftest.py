"""Spares the disk; small tasks, and frames of spoken sentences."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import miniature
from unisono.engines.worker import Worker


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Whether the disk has really written is nothing a test could see; waiting for it is most of a small run."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    return miniature.Task(tmp_path_factory.mktemp("whole"), miniature.SETTINGS).virtual()


@pytest.fixture
def task(tmp_path):
    made = miniature.Task(tmp_path, miniature.SETTINGS)
    made.initialise()
    return made


SPOKEN = """
corpus:
  shards: 1
  spoken: {train_sentences: 12, dev_sentences: 3, test_sentences: 1, train_voices: 3, dev_voices: 1, test_voices: 1}
hmm: {align: mono, mono: {iterations: 4, gaussians: 80}}
"""


@pytest.fixture(scope="session")
def spoken_frames(tmp_path_factory, root):
    """A folder with train.h5 and dev.h5 of the embedded corpus: features of spoken sentences, aligned by monophones."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "small.yaml").write_text(SPOKEN)
    frames = Path("results/spoken_small/frames")
    words = [
        sys.executable, "-m", "snakemake", frames / "train.h5", frames / "dev.h5", "--snakefile", root / "Snakefile",
        "--directory", folder, "--cores", "2", "--configfile", root / "config/spoken_small.yaml", folder / "small.yaml",
    ]  # fmt: skip
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / frames


@pytest.fixture
def spoken_task(spoken_frames):
    """Make a task on the spoken frames: spoken_task(folder, settings)."""

    def make(folder, settings):
        folder.mkdir()
        for name in ("train.h5", "dev.h5"):
            shutil.copy(spoken_frames / name, folder / name)
        return miniature.Task(folder, settings)

    return make


@pytest.fixture
def spoil(monkeypatch):
    """Damage the results of chosen (iteration, worker) in whatever engine: `nan`, or `low` by 2 nats a frame."""
    chosen = {}
    original = Worker.run

    def run(self, task, loader, *rest):
        record = original(self, task, loader, *rest)
        kind = chosen.get((task.iteration, self.number), chosen.get((task.iteration, None)))
        if kind == "nan":
            self.params[::3] = math.nan
            record.finite = False
        if kind == "low":
            self.params.mul_(-1)
            record.objective_sum -= 2.0 * record.frames
        return record

    monkeypatch.setattr(Worker, "run", run)
    return chosen
