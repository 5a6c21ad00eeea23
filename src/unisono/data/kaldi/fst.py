"""OpenFST's files of the standard arc type, const or vector, checked arc by arc; written as vector.

The FST wheel returns nothing for Kaldi's const graphs and trusts the numbers in a file, so both forms are read here.
Header (little-endian): magic, type and arc type as counted strings, version, flags (1, 2: symbol tables follow; 4: the
tables of a const FST begin at multiples of 16 bytes), properties, start, states, arcs. const: 20 bytes a state (final
weight, first arc, arcs, two counts of epsilons), then 16 bytes an arc. vector: for each state its final weight, its
number of arcs and these arcs.
"""

import os
import struct
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.source import read_whole
from unisono.errors import UserError

_MAGIC, _SYMBOLS_MAGIC = 0x7EB2FDD6, 0x7EB2FB74
_HEADER = struct.Struct("<iiQqqq")
_INPUT_SYMBOLS, _OUTPUT_SYMBOLS, _ALIGNED = 1, 2, 4
_EXPANDED, _MUTABLE = 1, 2
_STATE = np.dtype([("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("inputs", "<u4"), ("outputs", "<u4")])
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("next", "<i4")])
_STATE_WORDS, _ARC_WORDS = 3, 4


class Fst(NamedTuple):
    """A transducer; the arcs of state s are arcs[first[s] : first[s + 1]]. Weights are costs (-log probability)."""

    start: int
    final: NDArray[np.float32]  # [states], infinite where the state is not final
    first: NDArray[np.int64]  # [states + 1]
    arcs: NDArray  # [arcs] of input, output, weight, next

    @property
    def highest_input(self) -> int:
        """Return the highest input label: in a decoding graph a transition-id."""
        return int(self.arcs["input"].max(initial=0))

    @property
    def highest_output(self) -> int:
        """Return the highest output label: in a decoding graph the number of a word."""
        return int(self.arcs["output"].max(initial=0))

    def to_bytes(self) -> bytes:
        """Return the file form of a vector FST without symbol tables; equal transducers give equal bytes."""
        states, counts = len(self.final), np.diff(self.first)
        words = np.zeros(_STATE_WORDS * states + _ARC_WORDS * len(self.arcs), "<i4")
        places = _STATE_WORDS * np.arange(states) + _ARC_WORDS * self.first[:-1]
        words.view("<f4")[places] = self.final
        words[places + 1] = counts  # int64, of which the upper half stays 0
        at = _ARC_WORDS * np.arange(len(self.arcs)) + _STATE_WORDS * (1 + np.repeat(np.arange(states), counts))
        for offset, name in enumerate(("input", "output")):
            words[at + offset] = self.arcs[name]
        words.view("<f4")[at + 2] = self.arcs["weight"]
        words[at + 3] = self.arcs["next"]
        head = struct.pack("<ii6si8s", _MAGIC, 6, b"vector", 8, b"standard")
        # Kaldi's programs write 0 arcs here; OpenFST reads past it.
        return head + _HEADER.pack(2, 0, _EXPANDED | _MUTABLE, self.start, states, 0) + words.tobytes()


def read_fst(path: str | os.PathLike[str]) -> Fst:
    """Read an FST. Raises UserError naming file and reason where it is no sound one."""
    return _Reader(read_whole(path), os.fspath(path)).fst()


class _Reader:
    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where, self._at = data, where, 0

    def fst(self) -> Fst:
        if self._unpack("<i") != _MAGIC:
            self._fail("not an FST of OpenFST")
        kind, arc = self._text(), self._text()
        if kind not in (b"const", b"vector") or arc != b"standard":
            self._fail(f"of type {kind[:40]!r} with arcs {arc[:40]!r}: only const and vector of standard are read")
        version, flags, _, start, states, arcs = _HEADER.unpack(self._take(_HEADER.size))
        if not 0 < states <= len(self._data) // (_STATE.itemsize if kind == b"const" else 12):
            self._fail(f"{states} states in {len(self._data)} bytes")
        for flag in (_INPUT_SYMBOLS, _OUTPUT_SYMBOLS):
            if flags & flag:
                self._pass_symbols()
        if kind == b"const":
            aligned = version == 1 or bool(flags & _ALIGNED)
            final, first, table = self._const(states, arcs, aligned)
        else:
            final, first, table = self._vector(states)
        self._check(start, states, final, table)
        return Fst(int(start), final, first, table)

    def _const(self, states: int, arcs: int, aligned: bool) -> tuple[NDArray, NDArray, NDArray]:
        if not 0 <= arcs <= len(self._data) // _ARC.itemsize:
            self._fail(f"{arcs} arcs in {len(self._data)} bytes")
        if aligned:
            self._at += -self._at % 16
        table = np.frombuffer(self._take(states * _STATE.itemsize), _STATE)
        if aligned:
            self._at += -self._at % 16
        found = np.frombuffer(self._take(arcs * _ARC.itemsize), _ARC)
        first = np.concatenate([[0], np.cumsum(table["arcs"].astype(np.int64))])
        if first[-1] != arcs or not np.array_equal(table["first"], first[:-1]):
            self._fail("its states' arcs are not those of the table")
        return table["final"].copy(), first, found

    def _vector(self, states: int) -> tuple[NDArray, NDArray, NDArray]:
        places, counts = np.zeros(states, np.int64), np.zeros(states, np.int64)
        read, at, end = struct.Struct("<q").unpack_from, self._at, len(self._data)
        for state in range(states):
            if end - at < 12:
                self._fail(f"cut off at state {state} of {states}")
            (count,) = read(self._data, at + 4)
            if not 0 <= count <= (end - at - 12) // 16:
                self._fail(f"cut off: {count} arcs of state {state}")
            places[state], counts[state] = at, count
            at += 12 + 16 * count
        words = np.frombuffer(self._data, "<i4", (at - self._at) // 4, self._at)
        first = np.concatenate([[0], np.cumsum(counts)])
        index = _ARC_WORDS * np.arange(first[-1]) + _STATE_WORDS * (1 + np.repeat(np.arange(states), counts))
        table = np.zeros(int(first[-1]), _ARC)
        for offset, name in enumerate(("input", "output", "weight", "next")):
            table[name] = (words.view("<f4") if name == "weight" else words)[index + offset]
        final = words.view("<f4")[(places - self._at) // 4].copy()
        self._at = at
        return final, first, table

    def _check(self, start: int, states: int, final: NDArray, arcs: NDArray) -> None:
        if self._at != len(self._data):
            self._fail("more after the last arc")
        if not 0 <= start < states:
            self._fail(f"it starts in state {start} of {states}")
        if ((arcs["next"] < 0) | (arcs["next"] >= states)).any():
            self._fail(f"an arc leads to a state that is not there: states are 0 to {states - 1}")
        if (arcs["input"] < 0).any() or (arcs["output"] < 0).any():
            self._fail("a negative label")
        if not np.isfinite(arcs["weight"]).all() or np.isnan(final).any() or (final == -np.inf).any():
            self._fail("a weight that is no finite number")
        if np.isinf(final).all():
            self._fail("no final state")

    def _pass_symbols(self) -> None:
        if self._unpack("<i") != _SYMBOLS_MAGIC:
            self._fail("a symbol table is announced and not there")
        self._text()
        self._take(8)
        count = self._unpack("<q")
        if not 0 <= count <= len(self._data) // 12:
            self._fail(f"{count} symbols in {len(self._data)} bytes")
        for _ in range(count):
            self._text()
            self._take(8)

    def _text(self) -> bytes:
        length = self._unpack("<i")
        if length < 0:
            self._fail(f"a text of {length} bytes")
        return self._take(length)

    def _unpack(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            self._fail(f"cut off: {count} bytes are claimed, {len(self._data) - self._at} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def _fail(self, reason: str) -> NoReturn:
        raise UserError(f"{self._where}: byte {self._at}: {reason}: make the graph anew, by Kaldi's own programs")
