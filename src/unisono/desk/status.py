"""Where a folder of results stands, from its files alone: stage, training, disk, the newest error of a log."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from unisono.desk import at_work, note
from unisono.desk.training import Training, read_training_state
from unisono.desk.words import duration, size
from unisono.errors import UserError
from unisono.files import read_json

# The last line of a traceback, not its first; one that was interrupted (KeyboardInterrupt) is no error.
ERROR = re.compile(r"\berror: |^[\w.]+(?:Error|Exception)\b")
STAGES = ("corpus", "features", "hmm", "graph", "frames", "plan", "train", "decode", "score", "report")


class Status(NamedTuple):
    """What the files say. stage: that of the newest log; error: file and line of the newest log that has one.

    doing: how far the newest log says its job is; progress: what `unisono run` says of itself, while it works.
    """

    root: Path
    running: bool
    finished: bool
    stage: str | None
    doing: str | None
    progress: note.Standing | None
    runs: list[Training]
    wer: dict[str, float]
    disk_bytes: int
    error: tuple[str, str] | None


def read_status(root: Path) -> Status:
    """Read the status of `results/<name>`. Raises UserError where that is no folder of results."""
    if not any((root / part).is_dir() for part in ("data", "logs", "runs")):
        raise UserError(f"{root}: no results there: give results/<name>, the folder that a config's runs write to")
    logs = sorted(
        ((time, path) for path in (root / "logs").rglob("*.log") if (time := _modified(path)) is not None), reverse=True
    )
    folders = sorted(path for path in (root / "runs").glob("*") if path.is_dir())
    stage = next((path.relative_to(root / "logs").parts[0] for _, path in logs), None)
    finished = (root / "report" / "summary.txt").is_file() and not _newer(root, logs)
    running = is_running(root)
    told = at_work.told(logs[0][1]) if running and logs else None
    return Status(
        root=root,
        running=running,
        finished=finished,
        stage=stage,
        doing=told and told.words,
        progress=note.read(root) if running else None,
        runs=[read_training_state(folder) for folder in folders],
        wer={path.parent.name: wer for path in (root / "runs").glob("*/wer.json") if (wer := _wer(path)) is not None},
        disk_bytes=used(root),
        error=_newest_error(logs),
    )


def is_running(root: Path) -> bool:
    """Return whether a snakemake on this machine holds these results (`unisono.lock`)."""
    try:
        known = os.stat(root / ".lock")
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    # The list of the kernel: trying the lock would keep out a snakemake that starts at that moment.
    place = f"{os.major(known.st_dev):02x}:{os.minor(known.st_dev):02x}:{known.st_ino}"
    return any(place in line.split() and "FLOCK" in line for line in table.splitlines())


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone by now
                continue
    return total


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as plain values: names, seconds, bytes, fractions; null for what is not known."""
    done, left = (1.0, 0.0) if status.finished and not status.running else (None, None)
    if status.progress:
        done, left = status.progress.fraction, status.progress.seconds_left
    return {
        "results": str(status.root),
        "running": status.running,
        "finished": status.finished,
        "stage": status.stage,
        "fraction": done,
        "seconds_left": left,
        "disk_bytes": status.disk_bytes,
        "error": None if status.error is None else {"log": status.error[0], "line": status.error[1]},
        "runs": {
            run.name: {
                "iterations": run.total,
                "done": run.done,
                "frames_per_s": run.frames_per_s,
                "training_seconds_left": None if status.running and not run.seconds_left else run.seconds_left,
                "learning_rate": run.steps[-1].learning_rate if run.steps else None,
                "objective_dev": run.last_objective(),
                "objective_dev_change": run.change(),
                "rejected": sum(step.rejected for step in run.steps),
                "finished": run.finished,
                "wer": status.wer.get(run.name),
            }
            for run in status.runs
        },
    }


def lines(status: Status) -> list[str]:
    """Return the status for a terminal."""
    state = "running" if status.running else "finished" if status.finished else "not running"
    found = [f"{status.root}: {state}{_standing(status)}, {size(status.disk_bytes)} on disk"]
    found += [f"  run {run.name}: {training_line(run, status.wer.get(run.name))}" for run in status.runs]
    if status.error and not status.finished:
        found.append(f"  newest error: {status.error[0]}: {status.error[1]}")
    return found


def _standing(status: Status) -> str:
    """Say how far all of it is."""
    if now := status.progress:
        left = "" if now.seconds_left is None else f", {duration(now.seconds_left)} left"
        return f", {100 * now.fraction:.1f} %, {now.doing}{left}"
    if not status.stage or status.finished:
        return ""
    return f", stage {status.stage}" + (f" ({status.doing})" if status.doing else "")


def one_line(status: Status) -> str:
    """Return the status as one line, for a log or a pipe."""
    return "; ".join(line.strip() for line in lines(status))


def training_line(run: Training, wer: float | None = None) -> str:
    """Say in one line how far a run is."""
    if not run.done and not run.finished and not run.total:
        return "training has not begun"
    parts = [f"iteration {run.done} of {run.total or '?'}" + (", trained" if run.finished else "")]
    if run.frames_per_s and not run.finished:
        parts.append(f"{run.frames_per_s:,.0f} frames/s")
    if run.steps and run.steps[-1].learning_rate is not None:
        parts.append(f"rate {run.steps[-1].learning_rate:.3g}")
    if (objective := run.last_objective()) is not None:
        change = run.change()
        parts.append(f"dev objective {objective:.3f}" + ("" if change is None else f" ({change:+.3f})"))
    if rejected := sum(step.rejected for step in run.steps):
        parts.append(f"workers rejected: {rejected}")
    if run.seconds_left:
        parts.append(f"training ends in {duration(run.seconds_left)}")
    if wer is not None:
        parts.append(f"WER {100 * wer:.2f} %")
    return ", ".join(parts)


def _modified(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _newer(root: Path, logs: list[tuple[float, Path]]) -> bool:
    """Return whether a stage before the report has worked since the report was made."""
    made = _modified(root / "report" / "summary.txt") or 0.0
    return any(time > made and path.relative_to(root / "logs").parts[0] != "report" for time, path in logs)


def _newest_error(logs: list[tuple[float, Path]]) -> tuple[str, str] | None:
    for _, path in logs:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        hit = [line for line in text.splitlines() if ERROR.search(line)]
        if hit:
            return str(path), hit[-1].strip()
    return None


def _wer(path: Path) -> float | None:
    try:
        return float(read_json(path)["wer"])
    except (UserError, LookupError, TypeError, ValueError):
        return None
