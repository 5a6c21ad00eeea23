"""Writing archives with their scripts, by kaldiio; whole or absent."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import kaldiio.matio
import numpy as np
from numpy.typing import NDArray

from unisono.errors import UserError
from unisono.files import atomic_path, write_text


class ArchiveWriter:
    """Adds entries to an open archive and notes the script's lines."""

    def __init__(self, file: IO[bytes], named: str) -> None:
        """`named` is the path that the script gives for the archive."""
        self._file, self._named = file, named
        self.lines: list[str] = []

    def add(self, key: str, value: NDArray) -> None:
        """Write an entry: float32 or float64 [T, D] or [D], or int32 [T]. Raises UserError for an unusable key."""
        if not key or any(letter.isspace() for letter in key):
            raise UserError(f"{key!r}: not a key for Kaldi's archives: give it a name without blanks")
        self._file.write(f"{key} ".encode())
        self.lines.append(f"{key} {self._named}:{self._file.tell()}\n")
        if value.dtype == np.int32:
            self._file.write(integers_to_bytes(value))
        else:
            kaldiio.matio.write_array(self._file, np.ascontiguousarray(value))


def integers_to_bytes(value: NDArray[np.int32]) -> bytes:
    """Return whole numbers as an archive's value: each carries its size."""
    elements = np.zeros(len(value) + 1, np.dtype([("size", "u1"), ("value", "<i4")]))
    elements["size"] = 4
    elements["value"] = np.concatenate([[len(value)], value])
    return b"\0B" + elements.tobytes()


@contextlib.contextmanager
def archive_writer(ark: str | os.PathLike[str], scp: str | os.PathLike[str] | None = None) -> Iterator[ArchiveWriter]:
    """Yield a writer; publish the archive, then its script, when the block ends without an error.

    The script names the archive by its absolute path, as Kaldi's own do, so that it can be read from anywhere.
    """
    with atomic_path(ark) as temporary, open(temporary, "wb") as file:
        writer = ArchiveWriter(file, str(Path(ark).absolute()))
        yield writer
        file.flush()
    if scp is not None:
        write_text(scp, "".join(writer.lines))
