"""What decides one training run: its config."""

import os
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from unisono.core.optimiser import OptimiserOptions
from unisono.core.products import Precision
from unisono.files import read_json
from unisono.grid import keeps_best
from unisono.nn.dnn import DnnOptions
from unisono.nn.initial import InitialisationOptions
from unisono.options import from_dict
from unisono.rates import ScheduleOptions
from unisono.schedule import ParallelOptions, looks_apart
from unisono.sense import check, parallel_options
from unisono.study import LATER

Prior = Literal["alignment", "posteriors"]  # of decoding: engines/prior.py


class Observer(Protocol):
    """An average over the models of training that is kept aside."""

    @property
    def start(self) -> float:
        """The fraction of the run before it moves."""
        ...

    def weight(self, count: int) -> float:
        """Return the weight of the `count`-th model that it takes in (from 1); the observer itself keeps the rest."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaOptions:
    """The config's `observers.ema`: decay in (0, 1), start as a fraction of the run."""

    decay: float
    start: float

    def weight(self, count: int) -> float:
        """Return 1 - decay: a memory of 1/(1 - decay) combinations."""
        return 1.0 - self.decay


@dataclass(frozen=True, kw_only=True, slots=True)
class PolyakOptions:
    """The config's `observers.polyak`: start as a fraction of the run."""

    start: float

    def weight(self, count: int) -> float:
        """Return 1/count: the mean of all (docs/mathematics.md 6.4)."""
        return 1.0 / count


@dataclass(frozen=True, kw_only=True, slots=True)
class ObserverOptions:
    """The config's `observers`."""

    ema: EmaOptions | None
    polyak: PolyakOptions | None

    def on(self) -> dict[str, Observer]:
        """Return the observers that are turned on, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: options for name, options in found.items() if options is not None}


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

    @property
    def looks_apart(self) -> bool:
        """Whether under `jobs` a job of its own evaluates the models."""
        return looks_apart(self.diagnostics.frames, self.keeps_best)


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's config.json. Raises UserError naming what does not fit."""
    return make_run(read_json(path))


def make_run(config: dict[str, Any]) -> Run:
    """Build a run from its resolved config."""
    known = {"parallel": parallel_options(config["parallel"])} if "parallel" in config else {}
    run = from_dict(Run, LATER | config | known, "config")
    check(config)
    return run
