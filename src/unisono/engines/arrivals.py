"""In which order workers come to a server: by turns, in a seeded simulation, or as a log says; and that log.

`arrivals.jsonl` is JSON, one value a line. The first line says what the log is of: {format, digest}. Each line after it
is an event: [what, worker, iteration, slice, version]. `pull`: the worker fetches the model, in which there were
`version` pushes, and begins a slice of the plan. `adopt`, `add`, `exchange`, `refuse`: the verdict on its push.
With config, frames, plan and initial model the log decides every bit of the result.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch

from unisono.config.parallel import Simulated
from unisono.engines import seeds
from unisono.engines.checkpoint import digest_of
from unisono.engines.dealing import Dealer, dealing_of
from unisono.engines.session import Session
from unisono.engines.state import Out, State
from unisono.engines.store import PathLike
from unisono.errors import UserError
from unisono.files import write_text

FORMAT = "unisono.arrivals/1"
NAME = "arrivals.jsonl"


class Event(NamedTuple):
    """A line of the log; see above."""

    what: str
    worker: int
    iteration: int
    slice: int
    version: int


class Order(Protocol):
    """Who comes next."""

    def next(self, state: State) -> tuple[Literal["pull", "push"], int]:
        """Return whether a worker fetches the model or pushes, and which."""
        ...

    def dated(self, state: State, out: Out) -> State:
        """Return the state with the time at which the slice that was just dealt will be done."""
        ...

    def check(self, state: State, event: Event) -> None:
        """Raise UserError where the event is not the one that the order wants; state: after it."""
        ...


def order_for(session: Session, dealer: Dealer, identity: dict[str, Any]) -> Order:
    """Return the order that the config names. Raises UserError for a log of another run."""
    options = session.run.parallel.arrival
    if options.kind == "live":
        raise UserError("parallel.arrival: live is what engine async finds: take round_robin, simulated or log")
    if options.kind == "log":
        return Replayed(Path(options.path or ""), identity)
    return Simulation(session, dealer, options if isinstance(options, Simulated) else None)


class Simulation:
    """By turns (no options), or by the time that each slice takes; a worker that is done fetches the model at once."""

    def __init__(self, session: Session, dealer: Dealer, options: Simulated | None) -> None:
        self._session, self._dealer, self._options = session, dealer, options

    def next(self, state: State) -> tuple[Literal["pull", "push"], int]:
        """Return who comes next: those that wait in their order, then who is done first, of these who fetched first."""
        out = dealing_of(state).out
        if self._dealer.may_deal(state):
            busy = {one.worker for one in out}
            waiting = [worker for worker in range(self._dealer.workers) if worker not in busy]
            if waiting:
                return "pull", waiting[0]
        return "push", min(out, key=lambda one: one.due).worker

    def dated(self, state: State, out: Out) -> State:
        """Return the state with the time at which the slice will be done: 0 where workers take turns."""
        if self._options is None:
            return state
        begin, end = self._session.plan.iterations[out.iteration].slices[out.slice]
        chance = seeds.generator_for(self._session.run.seed, seeds.ARRIVAL, out.iteration, out.slice)
        noise = float(torch.randn((), generator=chance, dtype=torch.float64))
        speed = 1.0 if self._options.speeds is None else self._options.speeds[out.worker]
        dealing = dealing_of(state)
        due = dealing.clock + (end - begin) / speed * math.exp(self._options.jitter * noise)
        return replace(state, dealing=replace(dealing, out=(*dealing.out[:-1], replace(out, due=due))))

    def check(self, state: State, event: Event) -> None:
        """Accept every event."""


class Replayed:
    """As a log says."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        header, self._events = read_log(path)
        if header.get("digest") != log_digest(identity):
            raise UserError(
                f"parallel.arrival.path: {path}: is of another run (other settings, frames, plan or initial model):"
                " give the log of a run that differs in nothing but arrival and engine"
            )

    def next(self, state: State) -> tuple[Literal["pull", "push"], int]:
        """Return what the next line says."""
        number = dealing_of(state).events
        if number >= len(self._events):
            raise self._wrong(number, "is missing: the run that wrote it was not finished")
        event = self._events[number]
        busy = any(out.worker == event.worker for out in dealing_of(state).out)
        if busy == (event.what == "pull"):
            raise self._wrong(number, f"worker {event.worker} {'is busy' if busy else 'has nothing to push'}")
        return ("pull" if event.what == "pull" else "push"), event.worker

    def dated(self, state: State, out: Out) -> State:
        """Return the state: the log knows no time."""
        return state

    def check(self, state: State, event: Event) -> None:
        """Raise UserError where this run comes to another event than the log."""
        number = dealing_of(state).events - 1
        if event != self._events[number]:
            said, found = (json.dumps(list(one)) for one in (self._events[number], event))
            raise self._wrong(number, f"{said}, but this run comes to {found}")

    def _wrong(self, number: int, what: str) -> UserError:
        return UserError(f"{self._path}: line {number + 2}: {what}: give the whole log of a run of these settings")


def log_digest(identity: dict[str, Any]) -> str:
    """Return what the log of a run names: config without the order, frames, plan and initial model."""
    config = identity["config"]
    parallel = {key: value for key, value in config.get("parallel", {}).items() if key != "arrival"}
    return digest_of(identity | {"config": config | {"parallel": parallel}})


def write_log(path: PathLike, identity: dict[str, Any], events: Sequence[Event]) -> None:
    """Write a log."""
    lines = [json.dumps({"format": FORMAT, "digest": log_digest(identity)}), *(json.dumps(list(e)) for e in events)]
    write_text(path, "\n".join(lines) + "\n")


def read_log(path: PathLike) -> tuple[dict[str, Any], list[Event]]:
    """Return a log's first line and its events. Raises UserError where the file is none."""
    try:
        with open(path, encoding="utf-8") as file:
            header, *lines = [json.loads(line) for line in file]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}")
        return header, [Event(str(what), *map(int, numbers)) for what, *numbers in lines]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: it is written by a run with a server, into its iterations/") from None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"{path}: no log of arrivals ({error}): give the arrivals.jsonl of a finished run") from None
