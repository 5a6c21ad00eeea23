"""Snakemake as a child: the right flags in the right order, its events, and its mistakes as one line."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono.desk.settings import HOUSE, snakefile

EVENTS = "UNISONO_EVENTS"  # as in the logger plugin snakemake_logger_plugin_unisono
_OURS = re.compile(r"^unisono [\w-]+: error: ")
_FRAME = re.compile(
    r'^\s*(File ".*", line|Traceback|.* in file ".*", line \d+:?$|Using workflow specific profile )|^\s*$'
)
INTERRUPTED = 130
_LONGEST = 400  # characters of an error that is no line of ours


class Ended(NamedTuple):
    """How snakemake ended: its code, what it printed, and why it failed: at most three lines."""

    code: int
    output: str
    why: list[str]


def command(configs: Sequence[str], cores: int, targets: Sequence[str] = (), more: Sequence[str] = ()) -> list[str]:
    """Return the command line; targets stand first, as --configfile takes every word that follows it."""
    flags = ["--snakefile", str(snakefile()), "--workflow-profile", str(HOUSE / "profiles/default")]
    files = ["--configfile", *configs] if configs else []
    return [sys.executable, "-m", "snakemake", *targets, *flags, "--cores", str(cores), *more, *files]


def environment() -> dict[str, str]:
    """Return the environment: the child finds this package, and the plugin beside it."""
    paths = [str(HOUSE / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def follow(line: Sequence[str], tell: Callable[[dict[str, Any]], None]) -> Ended:
    """Run snakemake to its end; `tell` is called for each of its events.

    Ctrl-C reaches it as it reaches us; SIGTERM is passed on, so that it can end its jobs.
    """
    read, write = os.pipe()
    words = [*line[:3], "--logger", "unisono", *line[3:]]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    environ = {**environment(), EVENTS: str(write)}
    failed: list[dict[str, Any]] = []
    with subprocess.Popen(words, pass_fds=(write,), env=environ, **pipes) as child, _passing_on(child):
        os.close(write)
        printed: dict[str, list[str]] = {"stdout": [], "stderr": []}
        readers = [
            threading.Thread(target=lambda name=name: printed[name].extend(getattr(child, name)), daemon=True)
            for name in printed
        ]
        for reader in readers:
            reader.start()
        try:
            with os.fdopen(read, encoding="utf-8", errors="replace") as events:
                for event in map(json.loads, events):
                    if event["event"] in ("job_error", "error"):
                        failed.append(event)
                    tell(event)
            code = child.wait()
        except KeyboardInterrupt:
            child.wait()
            code = INTERRUPTED
        for reader in readers:
            reader.join(timeout=5)
    said = "".join(printed["stdout"])
    if code == INTERRUPTED:
        return Ended(code, said, ["interrupted: to resume, run the same command again"])
    return Ended(code, said, reasons(failed, printed["stderr"]) if code else [])


@contextlib.contextmanager
def _passing_on(child: "subprocess.Popen[Any]") -> Iterator[None]:
    """Pass SIGTERM on to a child within the block."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def reasons(failed: Sequence[dict[str, Any]], printed: Sequence[str]) -> list[str]:
    """Return why snakemake failed: our own line where a command or the config says one, else its first words.

    failed: events of errors. printed: lines of its standard error, where commands say their mistakes.
    """
    ours = [line.strip() for line in printed if _OURS.match(line)]
    logs = [path for event in failed if event["event"] == "job_error" for path in event.get("log") or []]
    if not ours:
        texts = [line.strip() for event in failed if event["event"] == "error" for line in event["text"].splitlines()]
        ours = [line for line in texts if line.startswith("config: ")] or _first_words(texts) or _of_logs(logs)
    if not ours:
        ours = _first_words([line.strip() for line in printed])[-1:]
    # Jobs beside each other may fail of one cause, each with its line.
    why = list(dict.fromkeys(ours))[:2] or ["snakemake failed and did not say why: --verbose shows all it prints"]
    return [*why, f"log: {logs[0]}"] if logs and os.path.exists(logs[0]) else why


def _first_words(lines: Sequence[str]) -> list[str]:
    said = [line for line in lines if not _FRAME.match(line)]
    return [" ".join(said)[:_LONGEST]] if said else []


def _of_logs(logs: Sequence[str]) -> list[str]:
    """Return the last line of a failed job's log, where it says anything."""
    for path in logs:
        try:
            lines = [line for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if line]
        except OSError:
            continue
        if lines:
            return [lines[-1].strip()[:_LONGEST]]
    return []


def show(line: Sequence[str]) -> int:
    """Run snakemake with its own display; return its code."""
    with subprocess.Popen(line, env=environment()) as child, _passing_on(child):
        try:
            return child.wait()
        except KeyboardInterrupt:
            return child.wait() or INTERRUPTED
