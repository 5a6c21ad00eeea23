"""Writing the Sequences format of `unisono.data.sequences`, one utterance at a time."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import h5py
import numpy as np

from unisono.files import atomic_path

FORMAT = "unisono.sequences/1"
FRAMES = "frames"
RESERVED = ("offsets", "utt")
FLOATS = (np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8"))
IDS = np.dtype("<i4")
EXTRAS = (np.dtype("<i8"), np.dtype("<f8"))
_COPY_BYTES = 1 << 22

Attribute = str | int | float


def write_sequences(
    path: str | os.PathLike[str],
    items: Iterable[tuple[str, Mapping[str, np.ndarray]]],
    *,
    kind: str,
    attrs: Mapping[str, Attribute],
    extra: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a Sequences file from a stream of (utterance id, {dataset: array}), ids in sorted order; atomic.

    Holds one utterance at a time. For rules on shapes and types see `SequenceWriter.add`.
    """
    with SequenceWriter(path, kind=kind, attrs=attrs) as writer:
        for utt, arrays in items:
            writer.add(utt, **arrays)
        writer.extra.update(extra or {})


_HEADERS = 1 << 16  # bytes; all that HDF5 writes at a close lies in these, where no dataset is large


class SequenceWriter:
    """Streaming writer; the file appears under its name when the `with` block ends without an error.

    `attrs` and `extra` may be filled until the block ends. Rows are first gathered in nameless temporary files in
    the folder of `path` (a contiguous dataset needs its length at birth), unless the number of `rows` is given:
    then frames and ids go straight into the file and the sum of the lengths must be `rows`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, kind: str, attrs: Mapping[str, Attribute], rows: int | None = None
    ) -> None:
        """Prepare a file `path` of the given kind; nothing is written before the `with` block."""
        self.path, self.kind, self.rows = Path(path), kind, rows
        self.attrs: dict[str, Attribute] = dict(attrs)
        self.extra: dict[str, np.ndarray] = {}
        self._utts: list[str] = []
        self._offsets = [0]
        self._spools: dict[str, BinaryIO] = {}
        self._targets: dict[str, h5py.Dataset] = {}
        self._shapes: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Open the temporary file."""
        self._temporary = self._stack.enter_context(atomic_path(self.path))
        self._allocate(_HEADERS)
        self._stack.callback(self._cut)  # after the close
        self._file = self._stack.enter_context(
            h5py.File(self._temporary, "w", alignment_threshold=1, alignment_interval=64, track_order=False)
        )
        self._allocate(_HEADERS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish the file, or remove it after an error."""
        with self._stack:
            try:
                if error is None:
                    self._finish()
                    self._allocate(self._file.id.get_filesize())
            except BaseException:
                self._make_room()
                raise
            if error is not None:
                self._make_room()
                self._stack.__exit__(kind, error, trace)

    def _allocate(self, size: int) -> None:
        """Let the disk set aside the first `size` bytes: a close that finds it full would end the process in HDF5."""
        if not hasattr(os, "posix_fallocate"):
            return
        descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        finally:
            os.close(descriptor)

    def _cut(self) -> None:
        """Cut what was set aside and not used: where the superblock (version 0) says that the file ends."""
        with self._temporary.open("r+b") as file:
            if len(head := file.read(48)) == 48 and head[8] == 0:
                file.truncate(int.from_bytes(head[40:48], "little"))

    def _make_room(self) -> None:
        """Give the disk back what was written, but for what the close writes."""
        os.truncate(self._temporary, _HEADERS)
        for spool in self._spools.values():
            spool.close()

    def add(self, utt: str, **arrays: np.ndarray) -> None:
        """Append one utterance.

        `frames` is float [t, D]; every other array int32 [t]; all of one length t >= 0, the same names, D and float
        type in each call. Raises ValueError where that does not hold or `utt` does not sort after the one before.
        """
        if self._utts and utt <= self._utts[-1]:
            raise ValueError(f"{utt!r} comes after {self._utts[-1]!r}: utterances must be sorted and unique")
        if "\0" in utt or not utt:
            raise ValueError(f"{utt!r} is no utterance id")
        ready = {name: _checked(name, array) for name, array in arrays.items()}
        shapes = {name: (array.dtype, array.shape[1:]) for name, array in ready.items()}
        if self._utts and shapes != self._shapes:
            raise ValueError(f"{utt}: datasets {shapes} differ from those of the first utterance {self._shapes}")
        lengths = {len(array) for array in ready.values()}
        if len(lengths) != 1:
            raise ValueError(f"{utt}: arrays of different lengths {sorted(lengths)}")
        if not self._utts:
            self._shapes = shapes
            self._open()
        begin, end = self._offsets[-1], self._offsets[-1] + lengths.pop()
        for name, array in ready.items():
            if self.rows is None:
                self._spools[name].write(array.data if array.size else b"")
            elif end > self.rows:
                raise ValueError(f"{utt}: more than the {self.rows} rows that were announced")
            else:
                self._targets[name][begin:end] = array
        self._utts.append(utt)
        self._offsets.append(end)

    def _open(self) -> None:
        for name, (dtype, tail) in self._shapes.items():
            if self.rows is None:
                self._spools[name] = self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # type: ignore[assignment]
            else:
                self._targets[name] = self._file.create_dataset(name, shape=(self.rows, *tail), dtype=dtype)

    def _finish(self) -> None:
        if self.rows is not None and self._utts and self._offsets[-1] != self.rows:
            raise ValueError(f"{self.path}: {self._offsets[-1]} rows were written, {self.rows} announced")
        for name, spool in self._spools.items():
            self._copy(name, spool)
        names = [utt.encode() for utt in self._utts]
        width = max(map(len, names), default=1)
        self._file.create_dataset("offsets", data=np.asarray(self._offsets, dtype="<i8"))
        self._file.create_dataset("utt", data=np.asarray(names, dtype=f"S{width}"))
        for name, value in sorted(self.extra.items()):
            array = np.asarray(value)
            if array.dtype not in EXTRAS or name in (*RESERVED, *self._shapes):
                raise ValueError(f"extra dataset {name}: must be int64 or float64 and have its own name")
            self._file.create_dataset(name, data=array)
        for name, value in sorted({**self.attrs, "format": FORMAT, "kind": self.kind}.items()):
            self._file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value

    def _copy(self, name: str, spool: BinaryIO) -> None:
        dtype, tail = self._shapes[name]
        dataset = self._file.create_dataset(name, shape=(self._offsets[-1], *tail), dtype=dtype)
        row = max(1, dtype.itemsize * int(np.prod(tail, dtype=np.int64)))
        step = max(1, _COPY_BYTES // row)
        spool.seek(0)
        for begin in range(0, len(dataset), step):
            end = min(begin + step, len(dataset))
            dataset[begin:end] = np.frombuffer(spool.read((end - begin) * row), dtype=dtype).reshape(end - begin, *tail)


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    """Return `array` contiguous in the file's type, or raise ValueError."""
    if name in RESERVED:
        raise ValueError(f"{name} is the name of an index")
    if name == FRAMES:
        if array.ndim != 2 or array.dtype not in FLOATS:
            raise ValueError(f"frames must be float16, float32 or float64 [t, D], found {array.dtype} {array.shape}")
        return np.ascontiguousarray(array)
    if (
        array.ndim != 1
        or array.dtype.kind not in "iu"
        or (array.size and not -(2**31) <= array.min() <= array.max() < 2**31)
    ):
        raise ValueError(f"{name} must be whole numbers of 32 bits [t], found {array.dtype} {array.shape}")
    return np.ascontiguousarray(array, dtype=IDS)
