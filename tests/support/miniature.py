"""A small training task for the tests of the engines: a synthetic store, a config, and how to run it by files."""

import copy
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from tests.support.settings import run_settings
from unisono.config.transform import constants_of
from unisono.data.frames.store import FramesStore
from unisono.data.frames.store_write import write_frames
from unisono.engines import constants, sync, virtual
from unisono.engines.block import Block
from unisono.engines.diagnose import diagnose_job
from unisono.engines.evaluate import Evaluator
from unisono.engines.finish import Outputs, finish
from unisono.engines.initial import initial_parameters
from unisono.engines.jobs import WorkerFiles, combine_job, train_job
from unisono.engines.metrics import write_metrics
from unisono.engines.place import CPU
from unisono.engines.run import make_run
from unisono.engines.session import Session
from unisono.engines.state import read_state, write_state
from unisono.engines.step import first
from unisono.engines.store import COMBINE, Folder, save
from unisono.schedule import build_plan, write_plan

DIM, PDFS = 6, 9
NG = {"rank_in": 4, "rank_out": 3, "update_period": 2, "history": 500.0}
BASE = {
    "network": {"hidden": [16, 12], "context": [2, 1]},
    "optimiser": {"learning_rate": 0.004, "momentum": 0.5, "minibatch": 32, "max_change": "none", "ng": NG},
    "schedule": {"epochs": 2, "final_learning_rate": 0.001},
    "parallel": {"period_frames": 300},
    "seed": 3,
    "diagnostics": {"frames": 200},
    "data": {"shuffle_window": 512, "dtype": "float32"},
}


def config(**changes):
    """The run's config.json with dotted keys changed: config(parallel__workers=3)."""
    made = copy.deepcopy(BASE)
    for key, value in changes.items():
        *path, last = key.split("__")
        section = made
        for part in path:
            inner = section.get(part, {})
            section[part] = {"kind": inner} if isinstance(inner, str) else inner
            section = section[part]
        section[last] = value
    return run_settings(**made)


def make_store(path, utterances, seed, dtype="float32"):
    """Frames of PDFS Gaussian clusters, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((PDFS, DIM)) * 2
    items = []
    for number in range(utterances):
        ids = np.repeat(rng.integers(0, PDFS, rng.integers(3, 12)), rng.integers(3, 9)).astype(np.int32)
        items.append((f"utt{number:03d}", (centres[ids] + rng.standard_normal((len(ids), DIM))).astype("f4"), ids))
    write_frames(path, items, num_pdfs=PDFS, frame_shift_s=0.01, dtype=dtype)


class Task:
    """One run in one folder."""

    def __init__(self, folder, settings=None, utterances=40):
        self.folder = Path(folder)
        self.settings = settings or config()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "train.h5").exists():
            make_store(self.folder / "train.h5", utterances, 1)
            make_store(self.folder / "dev.h5", 10, 2)
        (self.folder / "config.json").write_text(json.dumps(self.settings))
        self.run = make_run(self.settings)
        self.train, self.dev = FramesStore(self.folder / "train.h5"), FramesStore(self.folder / "dev.h5")
        self.plan = build_plan(
            self.train.lengths.tolist(),
            self.run.schedule,
            self.run.parallel,
            self.run.minibatch,
            unit=self.run.network.unit,
            insertions=self.run.insertions,
        )
        write_plan(self.folder / "plan.json", self.plan)
        self.constants = self.estimated()
        self.iterations = self.folder / "iterations"
        self.files = Folder(self.iterations)

    def estimated(self):
        """What the network holds fixed, as the rule `constants` finds it."""
        options = constants_of(self.run.network)
        return constants.estimate(options, self.train) if options else {}

    @property
    def session(self):
        """A new one, with the plan as it is now."""
        return Session(self.run, self.settings, self.plan, self.train, self.dev, constants=self.constants)

    @cached_property
    def network(self):
        return self.session.network

    @property
    def last(self):
        return len(self.plan.iterations) - 1

    def combined(self, i):
        return self.files.combined(i)

    def state(self, i):
        return self.files.state(i)

    def worker(self, i, j):
        names = (f"{i}.{j}.model.safetensors", f"{i}.{j}.state.safetensors", f"{i}.{j}.json")
        return WorkerFiles(*(self.iterations / name for name in names))

    def initialise(self):
        session = self.session
        vectors, state = first(session, initial_parameters(session))
        save(self.combined(-1), vectors.to_write(), COMBINE, session.layout_at(-1), -1)
        write_state(self.state(-1), state)
        return vectors, state

    def train_worker(self, i, j):
        before = self.plan.iterations[i - 1].workers if i else 0
        train_job(
            self.session, iteration=i, slice_=j, combined=self.combined(i - 1), state=self.state(i - 1),
            own=self.worker(i - 1, j).state if j < before else None, out=self.worker(i, j),
        )  # fmt: skip

    def combine(self, i):
        combine_job(
            self.session, iteration=i, combined=self.combined(i - 1), state=self.state(i - 1),
            workers=[self.worker(i, j) for j in range(self.plan.iterations[i].workers)], out=self.combined(i),
            out_state=self.state(i),
        )  # fmt: skip

    def diagnose(self, i):
        diagnose_job(
            self.session, combined=self.combined(i), state=self.state(i), out=self.files.diagnostics(i)
        )  # fmt: skip

    def jobs(self, spoil=None):
        """Run the engine `jobs`; spoil(task, i) may change the workers' files before iteration i is combined."""
        self.initialise()
        for i, iteration in enumerate(self.plan.iterations):
            for j in reversed(range(iteration.workers)):  # no job may need another's
                self.train_worker(i, j)
            if spoil:
                spoil(self, i)
            self.combine(i)
            if self.run.looks_apart:
                self.diagnose(i)
        return self.finish()

    def block(self, first=0, last=None, comm=None, place=CPU, **options):
        """Run a block of iterations in this process (engine `virtual`; with a `comm` engine `sync`)."""
        values = {"checkpoint_s": 1e9, "interrupted": Interrupted()} | options
        block = Block(
            first=first, last=self.last if last is None else last, iterations_dir=self.iterations,
            state_dir=self.folder / "state", **values,
        )  # fmt: skip
        session = self.session
        session.place = place
        sync.train(session, block, comm) if comm else virtual.train(session, block)

    def virtual(self, place=CPU, **options):
        self.initialise()
        self.block(place=place, **options)
        return self.finish(place)

    def finish(self, place=CPU):
        out = Outputs(self.folder / "models", *(self.folder / n for n in NAMES))
        session = self.session
        session.place = place
        finish(session, combined=self.combined(self.last), iterations_dir=self.iterations, engine="any", out=out)
        write_metrics(self.plan, self.iterations, self.folder / "metrics.jsonl")
        return (self.folder / "final.safetensors").read_bytes()

    def metrics(self):
        """The lines of metrics.jsonl without what time decides."""
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]

    def facts(self):
        return json.loads((self.folder / "final.json").read_text())

    def read_state(self, i):
        return read_state(self.state(i))


NAMES = ("final.safetensors", "final.json", "ledger.json")


# Networks other than layers of one width under a random start; the second grows from one hidden layer to three.
TENANTS = {
    "pnorm": {"network": {"kind": "pnorm", "hidden": [8, 6], "group": 2, "context": [2, 1]}},
    "growing": {
        "network": {"kind": "pnorm", "hidden": [8, 8, 8], "group": 2, "context": [2, 1]},
        "initialisation": {"kind": "layerwise", "period": 1, "bias_stddev": 0.5},
    },
    "lstm": {
        "network": {
            "kind": "lstm", "cells": [8, 6], "chunk": 6, "left_context": 5, "label_delay": 2, "backprop_margin": 2
        },
        "optimiser__minibatch": 8,
    },
}  # fmt: skip

# Max-change that some steps of the first iterations are within, and others not.
LIMIT = {"kind": "nnet3", "per_layer": 0.1, "total": 0.12, "per_sample": 0.075}


class Interrupted:
    """Says stop at the n-th question (never for n = 0)."""

    def __init__(self, n=0):
        self.left = n

    def __call__(self):
        self.left -= 1
        return self.left == 0


def scripted(monkeypatch, objectives):
    """Let the dev objective at the ends of epochs be what the test says: of one model always the same."""
    original, left, said = Evaluator.evaluate, list(objectives), {}

    def evaluate(self, params, **options):
        found, model = original(self, params, **options), params.numpy().tobytes()
        if options["whole_dev"] and (left or model in said):
            found["objective_dev_full"] = said[model] = said[model] if model in said else left.pop(0)
        return found

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return left


# What the tests of resume run: every kind of state that there is to lose.
SETTINGS = config(
    optimiser__kind="ng_online", parallel__combine="bmuf_nesterov", parallel__workers=3, schedule__epochs=3,
    observers__ema={"decay": 0.8, "start": 0.2}, final_model="ema", network__dropout=0.1,
)  # fmt: skip
