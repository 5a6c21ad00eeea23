"""What lies in a folder of results that neither use, resume nor report needs.

| what | why it may go |
|---|---|
| `runs/<run>/state/` of a finished run | its checkpoints; nothing resumes from them |
| `runs/<run>/iterations/*.safetensors` of a finished run | vectors between iterations |
| `.name.*.tmp` | what a kill left half-written |
| with `everything`: features, frames, spoken and cut audio | only another training reads them, and makes them again |
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from unisono.config.stack import PREFIX
from unisono.desk.status import used
from unisono.errors import UserError
from unisono.lock import WITHOUT_LOCKS


class Waste(NamedTuple):
    """A file or folder that may go, its bytes, and why."""

    path: Path
    bytes: int
    why: str


def find_waste(root: Path, everything: bool = False) -> list[Waste]:
    """List what may go from `results/<name>`, in the order of the table.

    Raises UserError where that is no folder of results.
    """
    if not (root / "data").is_dir() and not (root / "runs").is_dir():
        raise UserError(f"{root}: no results there: give results/<name>, the folder that a config's runs write to")
    return [
        Waste(path, used(path) if path.is_dir() else path.lstat().st_size, why)
        for path, why in _paths(root, everything)
    ]


@contextlib.contextmanager
def undisturbed(root: Path) -> Iterator[None]:
    """Keep every snakemake from these results within the block. Raises UserError where one works on them."""
    with contextlib.ExitStack() as stack:
        if root.is_dir():
            file = stack.enter_context(open(root / ".lock", "ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{root}: a snakemake is working on it: wait for its end") from None
            except OSError as error:
                if error.errno not in WITHOUT_LOCKS:
                    raise
        yield


def remove(waste: Sequence[Waste]) -> int:
    """Remove what was listed; return the bytes that became free."""
    for path, _, _ in waste:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return sum(item.bytes for item in waste)


def _paths(root: Path, everything: bool) -> Iterator[tuple[Path, str]]:
    runs = sorted(path for path in (root / "runs").glob("*") if path.is_dir())
    finished = [run for run in runs if (run / "final.safetensors").is_file() and _is_scored(run)]
    gone: list[Path] = []
    for run in finished:
        if (run / "state").is_dir():
            gone.append(run / "state")
            yield run / "state", "checkpoints of a finished run"
        for path in sorted((run / "iterations").glob("*.safetensors")):
            if path.name != "init.combine.safetensors":  # Snakemake would train anew without it
                yield path, "vectors between iterations of a finished run"
    for path in sorted(root.rglob(".*.tmp")):
        if not any(path.is_relative_to(folder) for folder in gone):
            yield path, "half-written when a process was killed"
    if everything and runs and len(finished) == len(runs):
        for name in ("features", "frames"):
            for path in sorted((root / name).rglob("*.h5")):
                yield path, "made again if a setting changes"


def _is_scored(run: Path) -> bool:
    """Say whether a run has its word error rate, or is the pretraining of a layer, which gets none."""
    return run.name.startswith(PREFIX) or (run / "wer.json").is_file()
