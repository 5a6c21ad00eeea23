"""What is measured: sizes, the config of a run with defaults, and a folder with what a run starts from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unisono.config.build import build, complete
from unisono.config.resolve import base_of, merge, run_of
from unisono.config.run import Run
from unisono.data.frames.store import FramesStore
from unisono.data.frames.store_write import write_frames
from unisono.engines.initial import initial_parameters
from unisono.engines.run import make_run
from unisono.engines.session import open_session
from unisono.engines.state import write_state
from unisono.engines.step import first
from unisono.engines.store import COMBINE, save
from unisono.files import write_json
from unisono.schedule import build_plan, write_plan

DIM = 40
UTTERANCE = 300  # frames, 3 s


class Size(NamedTuple):
    """How large everything is. period: frames between combinations. widths: wide and narrow layers for the memory.

    iterations: of `sync` and `jobs` that count; the first and the last of a run are left out.
    steps: minibatches of one variant in one block, a multiple of natural gradient's update period.
    """

    width: int
    pdfs: int
    minibatch: int
    blocks: int
    steps: int
    warm_up: int
    data_frames: int
    period: int
    iterations: int
    widths: tuple[int, int]
    compiled: bool


FULL = Size(1024, 2000, 512, 21, 4, 12, 262_144, 10_000, 16, (6144, 256), True)
QUICK = Size(32, 20, 32, 3, 4, 12, 4_096, 500, 2, (768, 32), False)


def settings(size: Size, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a complete config: plain SGD without max-change on 4 hidden layers; `changes` are laid over sections."""
    base = {
        "name": "bench",
        "network": {"kind": "dnn", "hidden": [size.width] * 4, "nonlinearity": "relu", "context": [5, 5]},
        "optimiser": {
            "kind": "sgd", "learning_rate": 1e-5, "momentum": 0.0, "minibatch": size.minibatch, "max_change": "none",
        },
        "schedule": {"kind": "fixed", "epochs": 1},
        "parallel": {"workers": 2, "combine": "mean", "period_frames": size.period, "first_iteration": "combine"},
        "diagnostics": {"frames": 0},
    }  # fmt: skip
    return merge(base, changes)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config.json: every key that decides its result."""
    return complete(build(Run, run_of(base_of(config), [], "", [])), execution=False)


def write_store(path: Path, frames: int, pdfs: int, seed: int = 1) -> None:
    """Write a store of at least `frames` frames of noise in utterances of 3 s."""
    count = -(-frames // UTTERANCE)

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for number in range(count):
            ids = rng.integers(0, pdfs, UTTERANCE, dtype=np.int32)
            yield f"utt{number:06d}", rng.standard_normal((UTTERANCE, DIM), dtype=np.float32), ids

    counts = write_frames(path, items(), num_pdfs=pdfs, frame_shift_s=0.01, dtype="float16", rows=count * UTTERANCE)
    if path.stem == "train":
        write_json(path.with_name("frames.json"), {"train": counts})


class Folder:
    """Everything that a run's commands read, in one folder, made without the workflow."""

    def __init__(self, path: Path, config: Mapping[str, Any], frames: int, pdfs: int) -> None:
        self.path, self.iterations = path, path / "iterations"
        self.iterations.mkdir(parents=True)
        write_store(path / "train.h5", frames, pdfs)
        write_store(path / "dev.h5", UTTERANCE, pdfs, seed=2)
        write_json(path / "config.json", identity(config))
        self.run = make_run(identity(config))
        with FramesStore(path / "train.h5") as store:
            lengths = store.lengths.tolist()
            self.plan = build_plan(lengths, self.run.schedule, self.run.parallel, self.run.minibatch)
            write_plan(str(path / "plan.json"), self.plan)
        with open_session(path / "config.json", path / "plan.json", path / "train.h5") as session:
            self.vector_bytes = 4 * session.layout.size
            vectors, state = first(session, initial_parameters(session))
            path = self.iterations / "init.combine.safetensors"
            save(path, vectors.to_write(), COMBINE, session.layout, -1)
        write_state(self.iterations / "init.state.json", state)

    def train_sync(self) -> list[str]:
        """Return the arguments that train the whole plan under MPI."""
        return [
            "train", "--engine", "sync", "--config", f"{self.path}/config.json", "--plan", f"{self.path}/plan.json",
            "--frames-train", f"{self.path}/train.h5", "--frames-dev", f"{self.path}/dev.h5", "--first", "0",
            "--last", str(len(self.plan.iterations) - 1), "--iterations-dir", str(self.iterations),
            "--state-dir", f"{self.path}/state",
        ]  # fmt: skip
