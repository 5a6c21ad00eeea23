"""A combined model's diagnostics in a job of its own (engine jobs), so that no worker waits for them.

`{i}.diagnostics.json` (`unisono.diagnostics/1`) holds what the state of another engine holds itself. Kaldi looks at
its models likewise, beside the next iteration (nnet3-compute-prob).
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unisono.data.frames.store import FramesStore
from unisono.engines.comm import Alone
from unisono.engines.evaluate import SUBSETS, Evaluator
from unisono.engines.place import CPU, Place
from unisono.engines.run import Run, make_network
from unisono.engines.state import State, load_model, read_state
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import Plan

PathLike = str | os.PathLike[str]
FORMAT = "unisono.diagnostics/1"


def diagnose_job(
    run: Run,
    plan: Plan,
    train: FramesStore,
    dev: FramesStore,
    *,
    combined_path: PathLike,
    state_path: PathLike,
    out: PathLike,
    place: Place = CPU,
) -> dict[str, float | None]:
    """Evaluate the model of an iteration as `advance` would, unless it has; write the file and return what was found.

    Nothing is found for an iteration that only passed. Raises UserError where the files are not of one iteration.
    """
    state = read_state(state_path)
    if state.iteration >= len(plan.iterations):
        raise UserError(f"{state_path}: of iteration {state.iteration}, the plan has {len(plan.iterations)}")
    network = make_network(run, train)
    found: dict[str, float | None] = state.judged or {}
    begun, seconds = time.perf_counter(), state.seconds.get("evaluate")
    if state.workers and not found:
        model = load_model(combined_path, state, network.layout)
        ends = plan.iterations[state.iteration].end_of_epoch or plan.is_last(state.iteration)
        found = Evaluator(run, network, train, dev, Alone(), place.device).evaluate(model, whole_dev=ends)
        seconds = time.perf_counter() - begun
    write_json(out, {"format": FORMAT, "iteration": state.iteration, "diagnostics": found, "seconds": seconds})
    return found


def with_diagnostics(state: State, iterations_dir: Path) -> State:
    """Return the state with the diagnostics that lie beside it where it has none; with unknown ones if none do.

    Raises UserError where the file beside it is of another iteration or format.
    """
    if state.diagnostics is not None:
        return state
    path = iterations_dir / f"{state.iteration}.diagnostics.json"
    if not path.exists():
        return replace(state, diagnostics=dict.fromkeys(SUBSETS))
    value = read_json(path)
    if not isinstance(value, dict) or (value.get("format"), value.get("iteration")) != (FORMAT, state.iteration):
        raise UserError(f"{path}: not of format {FORMAT} and iteration {state.iteration}: delete it and train again")
    return replace(state, diagnostics=value["diagnostics"], seconds=state.seconds | {"evaluate": value["seconds"]})


def described(found: Mapping[str, Any]) -> str:
    """Return the objectives of the subsets as words for a log."""
    parts = [f"{key} {found[key]:.4f}" for key in SUBSETS[:2] if found.get(key) is not None]
    return ", ".join(parts) or "not evaluated"
