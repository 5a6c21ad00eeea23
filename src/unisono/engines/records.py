"""What a worker says about a slice: one table of fields, from which messages, files, metrics and ledger follow.

A new counter is one more field of `Record` (and a line of `metrics.worker_row` where it is to be read there).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from unisono.errors import UserError


@dataclass(slots=True, kw_only=True)
class Record:
    """One worker's part in one iteration. Everything but times and device is a pure function of the task and the start.

    iteration, slice: which part of the plan. worker: who did it. start: the iteration after which the vector that the
    worker set out from was combined, -1 for the initial model; with a server, the pushes that were in it.
    learning_rate: of the first step. units, frames: trained on; the cursor is in units, all else counts frames.
    objective_sum: summed log-probability of the frames as it trained, float64, in order. correct: -1 where the network
    knows no labels. limited: minibatches whose step max-change has shortened. complete: False if the worker was
    interrupted before the end of the slice. device: where it computed, the model of a GPU or `cpu`.
    """

    iteration: int
    slice: int
    worker: int
    start: int
    learning_rate: float = 0.0
    units: int = 0
    frames: int = 0
    minibatches: int = 0
    objective_sum: float = 0.0
    correct: int = 0
    limited: int = 0
    finite: bool = True
    complete: bool = False
    seconds_start: float = 0.0
    seconds_load: float = 0.0
    seconds_compute: float = 0.0
    seconds_wait: float = 0.0
    seconds_write: float = 0.0
    device: str = "cpu"

    @property
    def objective(self) -> float:
        """Mean log-probability per frame; nan where there were none."""
        return self.objective_sum / self.frames if self.frames else math.nan

    @property
    def frame_accuracy(self) -> float | None:
        """Share of the frames that were classified correctly; None where there were none, or no labels."""
        return self.correct / self.frames if self.frames and self.correct >= 0 else None

    @property
    def limited_share(self) -> float | None:
        """Share of the steps that max-change has shortened; None where there were none."""
        return self.limited / self.minibatches if self.minibatches else None

    def to_row(self) -> list[float]:
        """Return all numbers as float64, for a message or a checkpoint: exact below 2^53."""
        return [float(getattr(self, name)) for name in NUMBERS]

    @classmethod
    def from_row(cls, row: Sequence[float], device: str) -> Self:
        """Return what `to_row` gave."""
        values: dict[str, Any] = {"device": device}
        values |= {name: kind(value) for (name, kind), value in zip(NUMBERS.items(), row, strict=True)}
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a number that is not finite becomes null."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any, where: str) -> Self:
        """Return what `to_json` gave. Raises UserError naming the file for anything else."""
        names = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise UserError(f"{where}: not the record of a worker: delete it and run the stage that makes it")
        found: dict[str, Any] = {n: math.nan if v is None and names[n] is float else v for n, v in values.items()}
        return cls(**found)


@dataclass(slots=True, kw_only=True)
class Outcome(Record):
    """A record and what became of it.

    discarded: frames that are in no model. staleness: pushes of others that came between its fetch and its push.
    """

    rejected: bool
    reason: str
    discarded: int
    staleness: int = 0


NUMBERS: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Record) if field.type is not str}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
