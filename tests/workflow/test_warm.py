"""Training by `jobs` with a warm interpreter and without one: the same bytes, also after kill -9 of whoever takes part."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from unisono.data.frames.store_write import write_frames

RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose", "finish")
TARGET = "results/tiny/runs/main/final.safetensors"
DIM, PDFS = 40, 30
CONFIG = """
name: tiny
network: {{kind: dnn, hidden: [256, 256], context: [2, 2]}}
optimiser: {{kind: ng_online, minibatch: 256, learning_rate: 0.001}}
schedule: {{epochs: 2}}
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
    write_frames(path, items, num_pdfs=PDFS, frame_shift_s=0.01, dtype="float16", rows=utterances * 200)


class Training:
    """A run on given frames: only what belongs to training is done."""

    def __init__(self, workspace, warm, threads=1):
        self.workspace, self.results = workspace, workspace.folder / "results" / "tiny"
        workspace.results = self.results
        (self.results / "frames").mkdir(parents=True)
        frames(self.results / "frames" / "train.h5", 40, 1)
        frames(self.results / "frames" / "dev.h5", 5, 2)
        text = CONFIG.format(threads=threads, warm=str(warm).lower())
        self.words = [TARGET, "--allowed-rules", *RULES]
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
        """All that training has left, without what time decides."""
        found = {}
        for path in sorted((self.results / "runs").rglob("*")):
            if path.is_file():
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
