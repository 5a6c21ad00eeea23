"""The numbers between two iterations, `{i}.state.json`; the vectors beside them are those of `store`."""

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from unisono.config.build import build
from unisono.engines.records import Outcome
from unisono.errors import UserError
from unisono.files import read_json, write_json

FORMAT = "unisono.state/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Out:
    """A slice that a worker is at. start: see `Record`. due: when it will be done in a simulation."""

    worker: int
    iteration: int
    slice: int
    start: int
    rate: float
    due: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealing:
    """What a server has dealt. dealt: slices so far, in the plan's order. out: in the order in which they were fetched.

    clock: time of a simulation. events: lines of the log of arrivals so far.
    """

    dealt: int = 0
    out: tuple[Out, ...] = ()
    clock: float = 0.0
    events: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The numbers after iteration `iteration` (-1: before the first).

    learning_rate: of each worker in the next iteration, null at the end. rate_scale: what back-off left. backoffs:
    iterations in a row in which all workers were rejected. stop: newbob ends the run; later iterations pass. turn:
    combinations so far. observed: models that each observer has taken in. fresh: workers that go on with fresh
    optimiser state. shared: all take over the optimiser state beside the model. best: iteration and dev objective of
    the best model. newbob: its state. diagnostics: objectives of the model; null where a job of its own evaluates it
    (`engines.diagnose`). workers: what became of each slice of the iteration. arrived: the same of the next iteration,
    while not all of its slices have arrived. refused: pushes in a row that a server did not take in. dealing: what a
    server has dealt; null where there is none. initial: SHA-256 of the initial parameters, by which checkpoints know
    the run.
    """

    iteration: int
    learning_rate: float | None
    rate_scale: float
    backoffs: int
    stop: bool
    turn: int
    observed: dict[str, int]
    fresh: tuple[int, ...]
    shared: bool
    best: dict[str, Any] | None
    newbob: dict[str, Any] | None
    diagnostics: dict[str, Any] | None
    workers: tuple[Outcome, ...]
    arrived: tuple[Outcome, ...]
    seconds: dict[str, Any]
    initial: str
    refused: int = 0
    dealing: Dealing | None = None


def to_json(state: State) -> dict[str, Any]:
    """Return plain values."""
    outcomes = {key: [outcome.to_json() for outcome in getattr(state, key)] for key in ("workers", "arrived")}
    return {"format": FORMAT} | asdict(state) | outcomes


def from_json(value: Any, where: str) -> State:
    """Return what `to_json` gave. Raises UserError naming the file for anything else."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(f"{where}: not of format {FORMAT}: delete it and run the training again")
    values = {key: item for key, item in value.items() if key != "format"}
    for key in ("workers", "arrived"):
        values[key] = [Outcome.from_json(item, where) for item in values.get(key, ())]
    return build(State, values, where)


def write_state(path: str | os.PathLike[str], state: State) -> None:
    """Write `{i}.state.json`."""
    write_json(path, to_json(state))


def note_progress(path: str | os.PathLike[str], state: State) -> None:
    """Append the numbers of an iteration and the time (seconds since 1970) as a line of JSON to `progress.jsonl`.

    For whoever watches a block, whose files are written at its end; no result is ever read from it.
    """
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"time": time.time()} | to_json(state)) + "\n")


def read_state(path: str | os.PathLike[str], iteration: int | None = None) -> State:
    """Read `{i}.state.json`. Raises UserError where it is none, or not of `iteration`."""
    state = from_json(read_json(path), str(path))
    if iteration is not None and state.iteration != iteration:
        raise UserError(f"{path}: of iteration {state.iteration}, expected {iteration}: give the one before")
    return state
