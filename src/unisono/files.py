"""Files and folders that are whole or absent: temporary name beside them, fsync, rename, fsync of the folder."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unisono.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; publish it under `path` when the block ends without an error.

    The file is flushed to the disk before the rename and the folder after it, so a crash at any point leaves
    the old file or the new one. After an error the temporary file is removed and `path` is untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        if error.filename is None:  # a write knows its descriptor only
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; publish it under `path` when the block ends without an error.

    After an error it is removed with all that lies in it. Raises UserError where `path` is there already.
    """
    target = Path(os.path.abspath(path))
    if os.path.lexists(target):
        raise UserError(f"{path}: is there already: remove it or give another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        for inner in sorted(temporary.rglob("*")):
            _sync(inner)
        temporary.chmod(0o777 & ~_umask())
        _sync(temporary)
        temporary.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with line ends as they stand in `text`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically: sorted keys, one-space indent, NaN refused, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file. Raises UserError naming the file where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run the stage that makes it") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}): delete it and run the stage that makes it") from None


def require_space(folder: str | os.PathLike[str], needed: float, purpose: str) -> None:
    """Raise UserError if the disk that holds `folder` has fewer than `needed` bytes free; `purpose` says what for."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {free / 1e9:.2f} GB free on this disk, {purpose} takes about {needed / 1e9:.2f} GB: free some"
            " space, or work on another disk (snakemake --directory DIR)"
        )


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # There is no call that only reads the mask.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
