"""A combined model's diagnostics in a job of its own (engine `jobs`), so that no worker waits for them.

`{i}.diagnostics.json` (`unisono.diagnostics/1`) holds what the state of another engine holds itself. Kaldi evaluates
its models likewise, beside the next iteration (nnet3-compute-prob).
"""

import time
from dataclasses import replace
from typing import Any

from unisono.engines.comm import Alone
from unisono.engines.evaluate import SUBSETS, Evaluator
from unisono.engines.session import Session
from unisono.engines.state import State, read_state
from unisono.engines.store import COMBINE, Folder, PathLike, Stored
from unisono.errors import UserError
from unisono.files import read_json, write_json

FORMAT = "unisono.diagnostics/1"


def diagnose_job(session: Session, *, combined: PathLike, state: PathLike, out: PathLike) -> State:
    """Evaluate the model of an iteration as its combination would, write the file and return the state with it.

    Nothing is found for an iteration that only passed. Raises UserError where the files are not of one iteration.
    """
    numbers, plan = read_state(state), session.plan
    number = numbers.iteration
    if number >= len(plan.iterations):
        raise UserError(f"{state}: of iteration {number}, the plan has {len(plan.iterations)}")
    found: dict[str, float | None] = {}
    begun = time.perf_counter()
    if numbers.workers:
        model = Stored(combined, COMBINE, session.layout_at(number), number).take("model")
        ends = plan.iterations[number].end_of_epoch or plan.is_last(number)
        found = Evaluator(session, Alone()).evaluate(model, iteration=number, whole_dev=ends)
    seconds = time.perf_counter() - begun
    write_json(out, {"format": FORMAT, "iteration": number, "diagnostics": found, "seconds": seconds})
    return replace(numbers, diagnostics=found)


def with_diagnostics(state: State, folder: Folder) -> State:
    """Return the state with the diagnostics that lie beside it where it has none; with unknown ones if none do.

    Raises UserError where the file beside it is of another iteration or format.
    """
    if state.diagnostics is not None:
        return state
    path = folder.diagnostics(state.iteration)
    if not path.exists():
        return replace(state, diagnostics=dict.fromkeys(SUBSETS))
    value = read_json(path)
    if not isinstance(value, dict) or (value.get("format"), value.get("iteration")) != (FORMAT, state.iteration):
        raise UserError(f"{path}: not of format {FORMAT} and iteration {state.iteration}: delete it and train again")
    return replace(state, diagnostics=value["diagnostics"], seconds=state.seconds | {"evaluate": value["seconds"]})


def described(state: State) -> str:
    """Return the objectives of a state's model as words for a log."""
    found: dict[str, Any] = state.diagnostics or {}
    parts = [f"{key} {found[key]:.4f}" for key in SUBSETS[:2] if found.get(key) is not None]
    return ", ".join(parts) or "not evaluated"
