"""`metrics.jsonl`: what each worker did in each iteration, and how good the combined model is."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisono.engines.diagnose import with_diagnostics
from unisono.engines.records import Outcome
from unisono.engines.state import State, read_state
from unisono.engines.store import Folder
from unisono.files import write_text
from unisono.schedule import Iteration, Plan

SECONDS = ("seconds_start", "seconds_load", "seconds_compute", "seconds_wait", "seconds_write")


def read_states(plan: Plan, folder: Folder) -> list[State]:
    """Return the numbers after each iteration of a run. Raises UserError where one is missing."""
    return [read_state(folder.state(number), number) for number in range(len(plan.iterations))]


def write_metrics(plan: Plan, iterations_dir: Path, out: Path) -> None:
    """Put the numbers of all iterations together, with the diagnostics that lie beside them."""
    folder = Folder(iterations_dir)
    states = [with_diagnostics(state, folder) for state in read_states(plan, folder)]
    write_text(out, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows(plan, states)))


def rows(plan: Plan, states: Sequence[State]) -> list[dict[str, Any]]:
    """Return the lines: each iteration's workers, then the combined model (worker null)."""
    found = []
    for iteration, state in zip(plan.iterations, states, strict=True):
        if state.workers:
            found += [worker_row(iteration, outcome) for outcome in state.workers]
            found.append(combined_row(iteration, state))
    return found


def worker_row(iteration: Iteration, outcome: Outcome) -> dict[str, Any]:
    """Return the line of one slice."""
    row = {
        "iteration": iteration.iteration, "epoch": iteration.epoch, "worker": outcome.worker,
        "slice": outcome.slice, "slice_of": outcome.iteration, "staleness": outcome.staleness,
        "frames": outcome.frames, "frame_accuracy": outcome.frame_accuracy, "limited": outcome.limited_share,
        "learning_rate": outcome.learning_rate, "rejected": outcome.rejected, "objective_dev": None,
        "objective_train": outcome.objective if math.isfinite(outcome.objective) else None, "seconds_average": None,
    }  # fmt: skip
    return (
        row | ({"reason": outcome.reason} if outcome.reason else {}) | {key: getattr(outcome, key) for key in SECONDS}
    )


def combined_row(iteration: Iteration, state: State) -> dict[str, Any]:
    """Return the line of the combined model."""
    steps = sum(outcome.minibatches for outcome in state.workers)
    return {
        "iteration": iteration.iteration, "epoch": iteration.epoch, **dict.fromkeys(SECONDS),
        **(state.diagnostics or {}), "worker": None,
        "frames": sum(outcome.frames for outcome in state.workers),
        "limited": sum(outcome.limited for outcome in state.workers) / steps if steps else None,
        "learning_rate": state.workers[0].learning_rate,
        "rejected": all(outcome.rejected for outcome in state.workers),
        "seconds_average": state.seconds.get("average"), "seconds_evaluate": state.seconds.get("evaluate"),
    }  # fmt: skip
