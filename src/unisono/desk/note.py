"""How far `unisono run` says a run is, for `unisono status`: `results/<name>/.progress.json`, there while it works.

| key | meaning |
|---|---|
| fraction | of all the work, 0 to 1 |
| seconds_left | null where that is not known |
| doing | what is at work |
"""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

from unisono.errors import UserError
from unisono.files import read_json, write_json

NAME = ".progress.json"
EVERY_S = 5.0
OLD_S = 60.0  # an older note is of a run that was killed


class Standing(NamedTuple):
    """What a note says."""

    fraction: float
    seconds_left: float | None
    doing: str


class Note:
    """Writes the note of one run, now and then."""

    def __init__(self, root: Path) -> None:
        """Take `results/<name>`, which Snakemake makes."""
        self._path, self._due = root / NAME, 0.0

    def write(self, fraction: float, seconds_left: float | None, doing: str) -> None:
        """Write it, where it is time to; a disk that does not take it is for others to complain of."""
        if time.monotonic() < self._due or not self._path.parent.is_dir():
            return
        self._due = time.monotonic() + EVERY_S
        with contextlib.suppress(OSError):
            write_json(self._path, Standing(fraction, seconds_left, doing)._asdict())

    def remove(self) -> None:
        """Remove it: nobody is at work any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def read(root: Path) -> Standing | None:
    """Return what the run in `results/<name>` says of itself; None where none of `unisono run` is at work."""
    path = root / NAME
    try:
        if abs(time.time() - path.stat().st_mtime) > OLD_S:
            return None
        return Standing(**read_json(path))
    except (OSError, UserError, TypeError):
        return None
