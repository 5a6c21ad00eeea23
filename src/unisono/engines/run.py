"""What one training run is: its config, its plan, and the objects that every engine builds from them."""

import os
from typing import Any

import numpy as np
import torch

from unisono.config.build import build
from unisono.config.rules import check_run
from unisono.config.run import Run
from unisono.core.optimiser import Optimiser
from unisono.data.frames.loader import Loader
from unisono.data.frames.store import FramesStore
from unisono.engines.place import CPU, Place
from unisono.errors import UserError
from unisono.files import read_json
from unisono.nn.dnn import Dnn
from unisono.schedule import Plan, deal, worker_range


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's config.json. Raises UserError naming what does not fit."""
    return make_run(read_json(path))


def make_run(config: dict[str, Any]) -> Run:
    """Build a run from its resolved config."""
    run = build(Run, config, "config")
    check_run(run)
    return run


def make_network(run: Run, store: FramesStore) -> Dnn:
    """Return the network for the store's features and pdfs."""
    return Dnn(run.network, store.dim, store.num_pdfs, run.precision)


def make_optimiser(run: Run, network: Dnn) -> Optimiser:
    """Return a fresh optimiser."""
    return Optimiser(run.optimiser, network.layout)


def make_loader(
    run: Run, store: FramesStore, plan: Plan, ahead: int = 1, *, place: Place = CPU, keep: bool = False
) -> Loader:
    """Return a loader for the plan's slices; with `keep` the store stays on a GPU that has room for it.

    Raises UserError where the plan is of other frames.
    """
    if plan.units != store.frames:
        raise UserError(f"{store.path}: {store.frames} frames, the plan says {plan.units}: run the plan stage anew")
    owners = None
    if plan.dealing == "fixed":
        owners = np.array(deal(store.lengths.tolist(), worker_range(run.parallel.workers)[0]))
    context = run.network.context
    resident = place.resident(store, context) if keep else None
    return Loader(
        store, context, seed=run.seed, window=run.data.shuffle_window, owners=owners, ahead=ahead, resident=resident,
        pin=place.is_gpu,
    )  # fmt: skip


def generator_for(run_seed: int, *purpose: int) -> torch.Generator:
    """Return a generator that depends on the run's seed and the purpose only."""
    return torch.Generator().manual_seed(seed_for(run_seed, *purpose))


def seed_for(run_seed: int, *purpose: int) -> int:
    """Return the seed of one purpose within a run."""
    state = np.random.SeedSequence(run_seed, spawn_key=purpose).generate_state(1, np.uint64)
    return int(state[0]) & (2**63 - 1)
