"""What one training run is: its config, its plan, and the objects that every engine builds from them."""

import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from unisono.core.optimiser import Optimiser, OptimiserOptions
from unisono.core.products import Precision
from unisono.data.frames.loader import Loader
from unisono.data.frames.store import FramesStore
from unisono.engines.place import CPU, Place
from unisono.errors import UserError
from unisono.files import read_json
from unisono.grid import keeps_best
from unisono.nn.dnn import Dnn, DnnOptions
from unisono.nn.initial import InitialisationOptions
from unisono.options import from_dict
from unisono.rates import ScheduleOptions
from unisono.schedule import ParallelOptions, Plan, deal, worker_range
from unisono.sense import check, parallel_options
from unisono.study import LATER

Prior = Literal["alignment", "posteriors"]  # of decoding: engines/prior.py


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaOptions:
    """The config's `observers.ema`: decay in (0, 1), start as a fraction of the run."""

    decay: float
    start: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PolyakOptions:
    """The config's `observers.polyak`: start as a fraction of the run."""

    start: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ObserverOptions:
    """The config's `observers`."""

    ema: EmaOptions | None
    polyak: PolyakOptions | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosticsOptions:
    """The config's `diagnostics`: frames of the fixed subsets; 0 evaluates at the end of epochs only."""

    frames: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """The config's `data`: positions of a shuffling window, and the type in the store."""

    shuffle_window: int
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A resolved run; sections as in `config.json`, checked against each other."""

    network: DnnOptions
    initialisation: InitialisationOptions
    optimiser: OptimiserOptions
    schedule: ScheduleOptions
    parallel: ParallelOptions
    observers: ObserverOptions
    final_model: str
    prior: Prior
    seed: int
    quirks: dict[str, Any]
    diagnostics: DiagnosticsOptions
    data: DataOptions
    precision: Precision

    @property
    def keeps_best(self) -> bool:
        """Whether the best model so far (dev objective at the ends of epochs) is kept."""
        return keeps_best(self.final_model, self.schedule.kind)


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's config.json. Raises UserError naming what does not fit."""
    return make_run(read_json(path))


def make_run(config: dict[str, Any]) -> Run:
    """Build a run from its resolved config."""
    known = {"parallel": parallel_options(config["parallel"])} if "parallel" in config else {}
    run = from_dict(Run, LATER | config | known, "config")
    check(config)
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
