"""The arcs of an FST as numpy arrays, by way of its file form.

The wheel iterates arcs one Python object at a time and takes a minute for ten million. OpenFST's file form of a
VectorFst (fst/vector-fst.h; little-endian), however, is a header and then, for each state, its final weight (float32),
its number of arcs (int64) and these arcs, 16 bytes each: input label, output label (int32), weight (float32, a cost:
-log probability), next state (int32).
"""

import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unisono.errors import UserError
from unisono.hmm.libs import kaldifst

# Magic number, then fst type and arc type as counted strings; version, flags, properties, start, states, arcs.
KIND = struct.pack("<ii6si8s", 2125659606, 6, b"vector", 8, b"standard")
HEADER = struct.Struct("<iiQqqq")
HAS_SYMBOLS = 3
EXPANDED, MUTABLE = 1, 2
STATE_WORDS, ARC_WORDS = 3, 4


class Arcs:
    """All arcs of one FST, state by state; labels and weights may be replaced, the shape stays."""

    def __init__(self, fst: Any) -> None:
        """Copy the arcs of `fst`, a `kaldifst.StdVectorFst`, into arrays."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fst"
            if not fst.write(str(path)):
                raise UserError(f"{folder}: cannot write there: make room or set TMPDIR")
            self._take(path.read_bytes())

    def _take(self, data: bytes) -> None:
        self._head, states = _header(data)
        begin = len(self._head)
        self._words = np.frombuffer(data, "<i4", offset=begin).copy()
        firsts = np.empty(states, np.int64)
        counts = np.empty(states, np.int64)
        position = 0
        read = struct.Struct("<q").unpack_from
        for state in range(states):
            firsts[state] = position
            counts[state] = count = read(data, begin + 4 * position + 4)[0]
            position += STATE_WORDS + ARC_WORDS * count
        if position != len(self._words):
            raise ValueError(f"the FST file has {len(self._words)} words after its header, its states fill {position}")
        floats = self._words.view("<f4")
        # Number of arcs before each state and, last, in all: the arcs of state s are first_arc[s] to first_arc[s + 1].
        self.first_arc: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)])
        self.final: npt.NDArray[np.float32] = floats[firsts].copy()
        arcs = np.arange(self.first_arc[-1])
        self._at = ARC_WORDS * arcs + STATE_WORDS * (1 + np.repeat(np.arange(states), counts))
        self.input_label: npt.NDArray[np.int32] = self._words[self._at]
        self.output_label: npt.NDArray[np.int32] = self._words[self._at + 1]
        self.weight: npt.NDArray[np.float32] = floats[self._at + 2]
        self.next_state: npt.NDArray[np.int32] = self._words[self._at + 3]

    def to_bytes(self) -> bytes:
        """Return the file form with the labels and weights as they now stand in the arrays."""
        self._words[self._at] = self.input_label
        self._words[self._at + 1] = self.output_label
        self._words.view("<f4")[self._at + 2] = self.weight
        return self._head + self._words.tobytes()

    def to_fst(self) -> Any:
        """Return a new `kaldifst.StdVectorFst` with the labels and weights as they now stand in the arrays."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fst"
            path.write_bytes(self.to_bytes())
            return read_fst(path)


def read_fst(path: Path) -> Any:
    """Read a StdVectorFst. Raises UserError where the file is missing or no such FST."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file: run the stage that makes it")
    with open(path, "rb") as file:
        _check_kind(file.read(64), str(path))
    fst = kaldifst.StdVectorFst.read(str(path))
    if fst is None:
        raise UserError(f"{path}: not a whole FST: delete it and run the stage that makes it")
    return fst


def _check_kind(head: bytes, where: str) -> int:
    """Return where the two type names of the header end."""
    position = len(KIND)
    if head[:position] != KIND:
        raise UserError(f"{where}: not an OpenFST vector FST: give a file of fst type vector, arc type standard")
    return position


def _header(data: bytes) -> tuple[bytes, int]:
    """Return a header for the same states that claims no properties, and the number of states.

    Which properties an FST knows of itself depends on what was asked before, so they would make equal graphs differ.
    """
    position = _check_kind(data[:64], "FST")
    version, flags, _, start, states, arcs = HEADER.unpack_from(data, position)
    if flags & HAS_SYMBOLS:
        raise ValueError("FSTs with their own symbol tables are not needed here and not read")
    return KIND + HEADER.pack(version, flags, EXPANDED | MUTABLE, start, states, arcs), states
