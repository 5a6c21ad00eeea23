"""What the doctor finds: a line each, green, yellow or red, and its remedy."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple

from unisono.errors import UserError

CHILD_S = 30.0  # what hangs longer would hang a run, too


class Finding(NamedTuple):
    """One line. red: a run would fail; yellow: it would run, and disappoint."""

    colour: Literal["green", "yellow", "red"]
    what: str
    remedy: str = ""


def red(what: str, remedy: str) -> Finding:
    """Return what would make a run fail."""
    return Finding("red", what, remedy)


def of_error(error: UserError) -> Finding:
    """Return a mistake as a red line; its text holds the remedy after the last colon."""
    return Finding("red", str(error))


class Child(NamedTuple):
    """How a process ended: its standard output, and why it is no use ("" where it is)."""

    output: str
    fault: str


def ask(command: Sequence[str], timeout_s: float = CHILD_S, env: dict[str, str] | None = None) -> Child:
    """Run a program to its end, at most so long; never raises for what the program does."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=env, errors="replace")
    except subprocess.TimeoutExpired:
        return Child("", f"does not answer within {timeout_s:.0f} s")
    except OSError as error:
        return Child("", f"cannot be started ({error.strerror})")
    if done.returncode:
        # Open MPI frames what it says by lines of dashes
        lines = [line for line in done.stderr.splitlines() if line.strip(" -")]
        died = f"ends with signal {-done.returncode}" if done.returncode < 0 else f"ends with {done.returncode}"
        return Child(done.stdout, lines[-1].strip() if lines else died)
    return Child(done.stdout, "")


def ask_python(code: str, timeout_s: float = CHILD_S) -> Child:
    """Run Python code of ours in a process of its own, as a wheel that does not fit can end it."""
    return ask([sys.executable, "-c", code], timeout_s)
