"""What every command shows: log lines, where they go, and progress.

Log lines go to stderr, or to the file of `--log` with everything else that the process prints (C++ libraries too).
Progress is a rich bar where the real stderr is a terminal that no other command of ours is using, and otherwise a few
plain log lines. Nothing of this ever reaches a result.
"""

import contextlib
import fcntl
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PLAIN_INTERVAL_S = 20.0  # at most one plain line of the whole run in so many seconds
LOG_INTERVAL_S = 5.0  # and of one command in its log, which `unisono run` reads
# Set by MPI launchers before the program starts: only the first rank may empty a log that all of them share.
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")

COLOURS = {"green": 32, "yellow": 33, "red": 31}

_terminal = 2  # descriptor of the stderr that the process was started with


def redirect(log: Path) -> None:
    """Send descriptors 1 and 2 to the file `log`; the first stderr stays known for errors and the progress bar."""
    global _terminal
    log.parent.mkdir(parents=True, exist_ok=True)
    rank = next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), "0")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if rank == "0" else 0)
    descriptor = os.open(log, flags, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    if _terminal == 2:
        _terminal = os.dup(2)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def start_logging() -> None:
    """Log the package at INFO (or UNISONO_LOG_LEVEL) as `time level message` lines on stderr.

    Letters that the terminal's encoding does not have are shown as escapes, on stdout too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("unisono")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(os.environ.get("UNISONO_LOG_LEVEL", "INFO"))


def report_error(line: str) -> None:
    """Print `line` on stderr, and on the terminal as well where stderr is a log file, which may lie on a full disk."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # what waits in the buffer would fail once more at the end, with an exit code of Python's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if _terminal != 2:
        with contextlib.suppress(OSError):
            os.write(_terminal, f"{line}\n".encode())


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Line up the cells of a table below its heading, the first `left` columns at the left, the others at the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = list(zip(row, widths, strict=True))
        cells = [cell.ljust(w) for cell, w in padded[:left]] + [cell.rjust(w) for cell, w in padded[left:]]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def painted(text: str, colour: str) -> str:
    """Return text in a colour of COLOURS where standard output is a terminal that shows colours."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how far a loop is; yields `advance(steps=1)`.

    `total` is the number of steps, None where it is not known. The loop may advance from one thread only.
    """
    with _own_terminal() as terminal:
        if terminal is None:
            yield _plain(description, total)
            return
        from rich.console import Console
        from rich.progress import Progress

        with open(terminal, "w", encoding="utf-8", closefd=False) as stream:
            with Progress(console=Console(file=stream, force_terminal=True), transient=True) as bar:
                task = bar.add_task(description, total=total)
                yield lambda steps=1: bar.advance(task, steps)


@contextlib.contextmanager
def whole_bar() -> Iterator[Callable[[float, str], None]]:
    """Show how far a whole run is; yields `show(fraction, what)`: a bar on a terminal, else a line now and then.

    Plain lines come when `what` begins with another word, and at most every PLAIN_INTERVAL_S otherwise.
    """
    if not os.isatty(_terminal):
        said, due = "", 0.0

        def show(fraction: float, what: str) -> None:
            nonlocal said, due
            begin = what.partition(" ")[0].rstrip(":,")
            if begin != said or time.monotonic() >= due or fraction == 1:
                said, due = begin, time.monotonic() + PLAIN_INTERVAL_S
                print(f"{100 * fraction:5.1f} %  {what}", file=sys.stderr, flush=True)

        yield show
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (BarColumn(30), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, what: bar.update(task, completed=fraction, description=what)


def _plain(description: str, total: int | None) -> Callable[..., None]:
    logger = logging.getLogger("unisono.progress")
    done, due = 0, time.monotonic() + LOG_INTERVAL_S

    def advance(steps: int = 1) -> None:
        nonlocal done, due
        done += steps
        if time.monotonic() >= due or done == total:
            due = time.monotonic() + LOG_INTERVAL_S
            logger.info("%s: %d%s", description, done, f" of {total}" if total else "")

    return advance


@contextlib.contextmanager
def _own_terminal() -> Iterator[int | None]:
    """Yield the terminal's descriptor to the one process that holds it, else None."""
    if not os.isatty(_terminal):
        yield None
        return
    # A fresh description of the terminal: a lock on an inherited one would be shared by all children of Snakemake.
    try:
        descriptor = os.open(os.ttyname(_terminal), os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)
