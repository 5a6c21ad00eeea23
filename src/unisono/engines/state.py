"""What stands between two iterations: the vectors of `{i}.combine.safetensors` and the numbers of `{i}.state.json`."""

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from unisono.config.build import build
from unisono.core.flat import Layout
from unisono.engines.tensor_file import Later, TensorFile, save_tensors
from unisono.errors import UserError
from unisono.files import read_json, write_json

Key = TypeVar("Key")
KIND = "combine"
STATE_FORMAT = "unisono.state/1"


@dataclass(slots=True)
class Combined:
    """Vectors [P] after a combination; those that equal the model may be the same object.

    None is changed before the next combination, save that `starts` (what single workers start from instead: gossip)
    may be the workers' own parameters. model: W(t), filtered. start: where workers go on from.
    rule: the combine rule's state. observers: `ema`, `polyak`. best: the best model so far where it is kept.
    optimiser: a state that all workers take over (the best worker's after iteration 0, or the mean momentum).
    """

    model: Tensor
    start: Tensor
    starts: MutableMapping[int, Tensor] = field(default_factory=dict)
    rule: dict[str, Tensor] = field(default_factory=dict)
    observers: MutableMapping[str, Tensor] = field(default_factory=dict)
    best: Tensor | None = None
    optimiser: dict[str, Tensor] = field(default_factory=dict)

    def start_of(self, worker: int) -> Tensor:
        """Return the vector that a worker starts the next iteration from."""
        return self.starts.get(worker, self.start)


class Lazy(MutableMapping[Key, Tensor], Generic[Key]):
    """Vectors that are formed each time they are asked for: what comes last, or one by one, must not all be held."""

    def __init__(self, forms: Mapping[Key, Callable[[], Tensor]]) -> None:
        self._forms = dict(forms)

    def __getitem__(self, key: Key) -> Tensor:
        return self._forms[key]()

    def __setitem__(self, key: Key, vector: Tensor) -> None:
        self._forms[key] = lambda: vector

    def __delitem__(self, key: Key) -> None:
        del self._forms[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The numbers after iteration `iteration` (-1: before the first).

    learning_rate: of each worker in the next iteration, null at the end. rate_scale: what back-off left. backoffs:
    combinations in a row in which all workers were rejected. stop: newbob ends the run; later iterations pass.
    turn: combinations so far. averaged: models in the Polyak mean. fresh: workers that start the next iteration with
    fresh optimiser state. shared: all take over the optimiser state of the combined file. best: iteration and dev
    objective of the best model. newbob: its state. diagnostics: objectives of the model; null where a job of its own
    looks at it (engines/diagnose.py). judged: what that job need not find, as the end of an epoch was judged by it;
    newbob may have gone back to another model since. workers: what each worker did. initial: SHA-256 of the initial
    parameters, by which checkpoints know the run.
    """

    iteration: int
    learning_rate: float | None
    rate_scale: float
    backoffs: int
    stop: bool
    turn: int
    averaged: int
    fresh: tuple[int, ...]
    shared: bool
    best: dict[str, Any] | None
    newbob: dict[str, Any] | None
    diagnostics: dict[str, Any] | None
    workers: tuple[dict[str, Any], ...]
    seconds: dict[str, Any]
    initial: str
    judged: dict[str, Any] | None = None


def write_state(path: str | os.PathLike[str], state: State) -> None:
    """Write `{i}.state.json`."""
    write_json(path, {"format": STATE_FORMAT} | asdict(state))


def read_state(path: str | os.PathLike[str]) -> State:
    """Read `{i}.state.json`. Raises UserError naming the file where it is not one."""
    return state_from(read_json(path), str(path))


def state_from(value: Any, where: str) -> State:
    """Return a State from plain values."""
    if not isinstance(value, dict) or value.get("format") != STATE_FORMAT:
        raise UserError(f"{where}: not of format {STATE_FORMAT}: delete it and run the training again")
    return build(State, {key: item for key, item in value.items() if key != "format"}, where)


def combined_tensors(combined: Combined) -> dict[str, Tensor]:
    """Return the vectors by their names in the file, without those of single workers and what is the model itself."""
    named = {"start": combined.start}
    named |= {f"rule.{name}": vector for name, vector in combined.rule.items()}
    named |= {f"observer.{name}": vector for name, vector in combined.observers.items()}
    named |= {f"optimiser.{name}": tensor for name, tensor in combined.optimiser.items()}
    if combined.best is not None:
        named["best"] = combined.best
    return {"model": combined.model} | {name: t for name, t in named.items() if t is not combined.model}


def combined_from(tensors: Mapping[str, Tensor], observers: tuple[str, ...], has_best: bool) -> Combined:
    """Return the inverse of `combined_tensors`."""

    def group(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    model = tensors["model"]
    return Combined(
        model=model,
        start=tensors.get("start", model),
        starts={int(worker): vector for worker, vector in group("start.").items()},
        rule=group("rule."),
        observers={name: tensors.get(f"observer.{name}", model) for name in observers},
        best=tensors.get("best", model) if has_best else None,
        optimiser=group("optimiser."),
    )


def save_combined(path: str | os.PathLike[str], combined: Combined, iteration: int, layout: Layout) -> None:
    """Write `{i}.combine.safetensors`; the starts of single workers are taken one at a time."""
    starts = {f"start.{w}": Later(combined.start, partial(combined.starts.__getitem__, w)) for w in combined.starts}
    save_tensors(path, combined_tensors(combined) | starts, kind=KIND, iteration=iteration, layout=layout)


def load_model(path: str | os.PathLike[str], state: State, layout: Layout) -> Tensor:
    """Read the model alone of `{i}.combine.safetensors`. Raises UserError where the state is of another iteration."""
    return _file_of(path, state, layout).get("model")


def load_combined(
    path: str | os.PathLike[str],
    state: State,
    observers: tuple[str, ...],
    layout: Layout,
    *,
    worker: int | None = None,
    everything: bool = False,
) -> Combined:
    """Read `{i}.combine.safetensors`.

    With `worker` only what that worker needs to start, no model; without, what the next combination needs, which is
    all but the starts of single workers and the shared optimiser state; with `everything` those too.
    """
    file = _file_of(path, state, layout)
    if worker is None:
        passing = () if everything else ("start.", "optimiser.")
        later = () if everything else ("observer.",)
        kept = {name: file.get(name) for name in file.names if not name.startswith((*passing, *later))}
        combined = combined_from(kept, observers, state.best is not None)
        if not everything:
            present = {name: f"observer.{name}" for name in observers}
            forms = {n: partial(file.get, s if s in file.names else "model") for n, s in present.items()}
            combined.observers = Lazy(forms)
        return combined
    own = f"start.{worker}"
    start = own if own in file.names else "start" if "start" in file.names else "model"
    shared = {name.removeprefix("optimiser."): file.get(name) for name in file.names if name.startswith("optimiser.")}
    # The start is looked at when the worker copies it: no vector of its own in between.
    nothing = torch.empty(0)
    starts = Lazy({worker: partial(file.look, start)})
    return Combined(model=nothing, start=nothing, starts=starts, optimiser=shared)


def _file_of(path: str | os.PathLike[str], state: State, layout: Layout) -> TensorFile:
    file = TensorFile(path, kind=KIND, layout=layout)
    if file.iteration != state.iteration:
        raise UserError(f"{path}: of iteration {file.iteration}, the state file of {state.iteration}: give a pair")
    return file
