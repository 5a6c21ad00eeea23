"""How far a run's training is, from its files alone, while it runs and afterwards.

`jobs` leaves `iterations/{i}.state.json` and `{i}.diagnostics.json` after each iteration; `virtual` and `sync` write
those at the end of a block and a line of `iterations/progress.jsonl` after each iteration.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from unisono.errors import UserError
from unisono.files import read_json
from unisono.schedule import read_plan

PROGRESS = "progress.jsonl"
RECENT = 5  # iterations over which speed is averaged


class Step(NamedTuple):
    """An iteration that is done. time: by the clock, seconds since 1970; frames of all its workers, the rate of one."""

    iteration: int
    time: float
    frames: int
    learning_rate: float | None
    objective_dev: float | None
    rejected: int
    stop: bool


class Training(NamedTuple):
    """A run's training. total: iterations of its plan, None before there is one; speed: over the last iterations."""

    name: str
    total: int | None
    steps: list[Step]
    finished: bool
    frames_per_s: float | None
    seconds_left: float | None

    @property
    def done(self) -> int:
        """Iterations that are done."""
        return self.steps[-1].iteration + 1 if self.steps else 0

    def change(self) -> float | None:
        """Return by how much the last known dev objective differs from the one before; None where one is missing."""
        known = [step.objective_dev for step in self.steps if step.objective_dev is not None]
        return known[-1] - known[-2] if len(known) > 1 else None

    def last_objective(self) -> float | None:
        """Return the newest dev objective that is known (`jobs` evaluates beside the next iterations)."""
        return next((step.objective_dev for step in reversed(self.steps) if step.objective_dev is not None), None)


def read_training_state(folder: Path) -> Training:
    """Read `runs/<run>`; files that are being written, or are gone by now, count as not there."""
    finished = (folder / "final.safetensors").is_file()
    try:
        total = len(read_plan(str(folder / "plan.json")).iterations)
    except (UserError, OSError, LookupError, TypeError):
        total = None
    steps = _steps(folder / "iterations", finished)
    if total is not None:
        steps = [step for step in steps if step.iteration < total]
    speed, each = _speed(steps)
    left = None if each is None or total is None else 0.0 if finished else each * (total - len(steps))
    return Training(folder.name, total, steps, finished, speed, left)


def _steps(folder: Path, finished: bool) -> list[Step]:
    try:
        begun = 0.0 if finished else os.stat(folder / "init.state.json").st_mtime
    except OSError:
        begun = 0.0
    found = {}
    for path in folder.glob("*.state.json"):
        if path.name[0].isdigit() and (step := _of_state(path)) and step.time >= begun:
            found[step.iteration] = step
    told: dict[int, Step] = {}
    for row in _lines(folder / PROGRESS):
        number, when = row["iteration"], float(row["time"])
        if when >= begun:  # a process that resumed says iterations again, and those after them are yet to come
            told = {k: step for k, step in told.items() if k < number}
            told[number] = _step(row, when, row.get("diagnostics"))
    # A line knows when its iteration ended; the file of a whole block was written at the block's end.
    found |= told
    ordered = [found[number] for number in sorted(found)]
    # What follows a gap is left over from another training.
    return [step for place, step in enumerate(ordered) if step.iteration == place]


def _of_state(path: Path) -> Step | None:
    try:
        state, when = read_json(path), os.stat(path).st_mtime
        beside = path.with_name(path.name.replace(".state.", ".diagnostics."))
        diagnostics = state["diagnostics"]
        if diagnostics is None and beside.is_file():
            diagnostics = read_json(beside)["diagnostics"]
        return _step(state, when, diagnostics)
    except (UserError, OSError, LookupError, TypeError, AttributeError):
        return None


def _step(state: dict[str, Any], when: float, diagnostics: dict[str, Any] | None) -> Step:
    workers, found = state["workers"], diagnostics or {}
    dev = found.get("objective_dev")
    return Step(
        iteration=state["iteration"],
        time=when,
        frames=sum(worker["frames"] for worker in workers),
        learning_rate=workers[0]["learning_rate"],
        objective_dev=found.get("objective_dev_full") if dev is None else dev,
        rejected=sum(bool(worker["rejected"]) for worker in workers),
        stop=bool(state["stop"]),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # the line that is being written, or was when the process was killed
    return [row for row in rows if isinstance(row, dict) and {"iteration", "time", "workers"} <= row.keys()]


def _speed(steps: list[Step]) -> tuple[float | None, float | None]:
    """Return frames a second and seconds an iteration over the last iterations; None where there are too few."""
    recent = steps[-RECENT - 1 :]
    seconds = recent[-1].time - recent[0].time if len(recent) > 1 else 0.0
    if seconds <= 0:
        return None, None
    return sum(step.frames for step in recent[1:]) / seconds, seconds / (len(recent) - 1)
