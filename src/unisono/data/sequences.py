"""The Sequences format `unisono.sequences/1`: a corpus as a few flat arrays in one HDF5 file.

| dataset | type | shape | meaning |
|---|---|---|---|
| /frames | float16, float32 or float64 | [T, D] | all utterances one after the other (not in every file) |
| /ids and further names | int32 | [T] | one number per frame (pdf_id, transition_id, ...; not in every file) |
| /offsets | int64 | [U + 1] | utterance u is rows offsets[u] to offsets[u + 1] |
| /utt | fixed-length bytes, UTF-8 | [U] | utterance ids, sorted, unique |
| further names | int64 or float64 | any | small tables that belong to the whole file (`extra`: pdf_counts, ...) |

Attributes: `format`, `kind`, and strings, whole numbers and floats of the writer. Datasets are contiguous and neither
compressed nor chunked, and start at 64-byte borders, so a reader maps them into memory.
This module (with `store_write`) is the only reader and writer.

    with SequenceWriter(path, kind="features", attrs={"frame_shift_s": 0.01}) as writer:
        writer.add("utt1", frames=array)
    with Sequences(path) as store:
        for utt in store.utts: store.get(utt)
"""

import bisect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from unisono.data.sequences_write import (
    EXTRAS,
    FLOATS,
    FORMAT,
    FRAMES,
    IDS,
    RESERVED,
    Attribute,
    SequenceWriter,
    write_sequences,
)
from unisono.errors import MACHINE, UserError

__all__ = ["FORMAT", "FRAMES", "SequenceWriter", "Sequences", "write_sequences"]


class Sequences:
    """Reader of one Sequences file: checks it when made, then maps its datasets read-only.

    It holds no HDF5 handle afterwards, so it may be shared with forked processes.

    `utts`: ids in file order; `offsets`: int64 [U + 1]; `attrs`: format, kind and the writer's; `extra`: small tables.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str | None = None) -> None:
        """Open `path`. Raises UserError where it is missing, damaged, hostile or not of `kind` (None: any)."""
        self.path = Path(path)
        self._maps: dict[str, np.memmap | np.ndarray] = {}
        self.extra: dict[str, np.ndarray] = {}
        try:
            with h5py.File(self.path, "r") as file:
                self.attrs: dict[str, Any] = {name: self._attribute(file, name) for name in map(str, file.attrs)}
                if self.attrs.get("format") != FORMAT:
                    raise self._refused(f"its format is {self.attrs.get('format')!r}, not {FORMAT}")
                arrays = {name: self._map(file, name) for name in map(str, file)}
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file: run the stage that makes it") from None
        except (OSError, RuntimeError, KeyError) as error:
            if isinstance(error, OSError) and error.errno in MACHINE:  # the file may well be whole
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from None
            reason = str(error).splitlines()[0]
            raise self._refused(f"not readable as HDF5 ({reason})") from None
        if kind is not None and self.attrs.get("kind") != kind:
            raise self._refused(f"it holds {self.attrs.get('kind')!r}, not {kind!r}")
        self.offsets, self.utts = self._index(arrays)
        self._sort(arrays)

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the maps (arrays handed out before stay valid)."""
        self._maps.clear()

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utts)

    def __contains__(self, utt: object) -> bool:
        """Say whether an utterance is here."""
        return isinstance(utt, str) and self._find(utt) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over utterance ids."""
        return iter(self.utts)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets with one row per frame, sorted."""
        return tuple(sorted(self._maps))

    @property
    def rows(self) -> int:
        """Number of frames T of all utterances."""
        return int(self.offsets[-1])

    def get(self, utt: str, dataset: str = FRAMES) -> np.ndarray:
        """Return a writable copy of one utterance's rows. Raises UserError where it is not here."""
        index = self.index(utt)
        return self.slice(int(self.offsets[index]), int(self.offsets[index + 1]), dataset)

    def index(self, utt: str) -> int:
        """Return the place u of an utterance in `utts` and `offsets`. Raises UserError where it is not here."""
        index = self._find(utt)
        if index is None:
            raise UserError(f"{self.path}: no utterance {utt!r}: run the stage that makes this file anew")
        return index

    def slice(self, begin: int, end: int, dataset: str = FRAMES) -> np.ndarray:
        """Return a writable copy of rows begin to end (0 <= begin <= end <= T)."""
        if not 0 <= begin <= end <= self.rows:
            raise ValueError(f"{self.path}: rows {begin} to {end} of {self.rows}")
        return np.array(self.memmap(dataset)[begin:end])

    def memmap(self, dataset: str = FRAMES) -> np.memmap | np.ndarray:
        """Return a read-only map of a whole dataset (a plain empty array where it has no bytes)."""
        if dataset not in self._maps:
            raise UserError(f"{self.path}: no dataset /{dataset}: it holds {', '.join(self.datasets) or 'none'}")
        return self._maps[dataset]

    def _find(self, utt: str) -> int | None:
        index = bisect.bisect_left(self.utts, utt)
        return index if index < len(self.utts) and self.utts[index] == utt else None

    def _refused(self, reason: str) -> UserError:
        return UserError(f"{self.path}: refused: {reason}: delete it and run the stage that makes it")

    def _attribute(self, file: h5py.File, name: str) -> Attribute:
        value = file.attrs[name]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, str | int | float):
            return value
        if isinstance(value, np.integer | np.floating):
            return value.item()
        raise self._refused(f"attribute {name!r} is neither text nor a number")

    def _map(self, file: h5py.File, name: str) -> np.ndarray:
        """Check one dataset of an untrusted file and map it, without letting HDF5 read a byte of it."""
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise self._refused(f"/{name} is a link to another place")
        if file.get(name, getclass=True) is not h5py.Dataset:
            raise self._refused(f"/{name} is not a dataset")
        dataset = file[name]
        assert isinstance(dataset, h5py.Dataset)
        layout = dataset.id.get_create_plist().get_layout()
        if dataset.external or dataset.is_virtual or layout != h5py.h5d.CONTIGUOUS:
            raise self._refused(f"/{name} is not stored contiguously in this file")
        dtype, shape = dataset.dtype, dataset.shape
        if dtype.kind not in "fiS" or dtype.itemsize == 0 or dtype.byteorder == ">" or shape is None:
            raise self._refused(f"/{name} has type {dtype}")
        size, place = dtype.itemsize * int(np.prod(shape, dtype=object)), dataset.id.get_offset()
        if size == 0:
            return np.zeros(shape, dtype)
        if place is None or place + size > self.path.stat().st_size:
            raise self._refused(f"/{name} lies outside the file")
        return np.memmap(self.path, dtype=dtype, mode="r", offset=place, shape=shape)

    def _index(self, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        if not all(name in arrays for name in RESERVED):
            raise self._refused("/offsets or /utt is missing")
        offsets, utts = arrays.pop("offsets"), arrays.pop("utt")
        if utts.ndim != 1 or utts.dtype.kind != "S" or offsets.dtype != np.dtype("<i8"):
            raise self._refused("/utt must be fixed-length bytes and /offsets int64")
        if offsets.shape != (len(utts) + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise self._refused("/offsets does not rise from 0 with one entry more than /utt")
        try:
            names = [utt.decode("utf-8") for utt in utts.tolist()]
        except UnicodeDecodeError:
            raise self._refused("/utt is not UTF-8") from None
        if any(a >= b for a, b in zip(names, names[1:], strict=False)):
            raise self._refused("/utt is not sorted and unique")
        return np.array(offsets), names

    def _sort(self, arrays: dict[str, np.ndarray]) -> None:
        """Tell per-frame datasets from small tables by type, and check their shapes."""
        for name, array in arrays.items():
            if (name == FRAMES and array.dtype in FLOATS and array.ndim == 2) or (
                array.dtype == IDS and array.ndim == 1
            ):
                if len(array) != self.rows:
                    raise self._refused(f"/{name} has {len(array)} rows, /offsets ends at {self.rows}")
                self._maps[name] = array
            elif name != FRAMES and array.dtype in EXTRAS:
                self.extra[name] = np.array(array)
            else:
                raise self._refused(f"/{name} has type {array.dtype} and {array.ndim} dimensions")
