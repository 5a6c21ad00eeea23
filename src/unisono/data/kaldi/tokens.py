"""Kaldi's models as a walk over tokens and values, in binary or text, with every size checked before it is believed.

Binary files begin with a zero byte and B. A token is followed by one space; whole numbers and reals are a byte with
their size and their value; booleans are the letter T or F; matrices and vectors begin with FM, DM, FV or DV. Text has
the same tokens and values, separated by blanks.
"""

import os
import re
import struct
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.numbers import finite, text_reals
from unisono.data.kaldi.source import read_whole
from unisono.errors import UserError

_WORD = re.compile(rb"\s*(\S+)")
_LONGEST_TOKEN = 256
_CODES = {b"\x04": "<i", b"\x08": "<q", b"\xfc": "<I"}
_REALS = {4: "<f", 8: "<d"}
_TYPES = {"F": np.dtype("<f4"), "D": np.dtype("<f8")}


class Tokens:
    """A place in the bytes of a model; each call reads one thing and moves on.

    All raise UserError naming file and byte.
    """

    def __init__(self, data: bytes, where: str) -> None:
        """`where` names the file in messages."""
        self.data, self.where = data, where
        self.binary = data[:2] == b"\0B"
        self.at = 2 if self.binary else 0

    def fail(self, reason: str, remedy: str = "write the file anew, by Kaldi's own programs") -> NoReturn:
        """Raise UserError naming the file and the byte."""
        raise UserError(f"{self.where}: byte {self.at}: {reason}: {remedy}") from None

    @property
    def at_end(self) -> bool:
        """Say whether nothing but blanks is left."""
        return not self.data[self.at :].strip() if len(self.data) - self.at < 1024 else False

    def peek(self) -> str:
        """Return the next token without moving on, an empty string where nothing is left."""
        found = _WORD.match(self.data, self.at, self.at + _LONGEST_TOKEN)
        return found[1].decode("latin-1") if found else ""

    def token(self) -> str:
        """Return the next token and move behind it and its space."""
        found = _WORD.match(self.data, self.at, self.at + _LONGEST_TOKEN)
        if found is None or len(found[1]) >= _LONGEST_TOKEN:
            self.fail("cut off" if found is None else "no token", "is it the right file?")
        self.at = min(found.end() + 1, len(self.data))
        return found[1].decode("latin-1")

    def expect(self, *names: str) -> str:
        """Return the next token, which must be one of `names`."""
        begin = self.at
        found = self.token()
        if found not in names:
            self.at = begin
            self.fail(f"{found[:40]!r} where {' or '.join(names)} should be", "is it the right file?")
        return found

    def skip(self, name: str) -> bool:
        """Move behind `name` if it is the next token, and say whether it was."""
        if self.peek() != name:
            return False
        self.token()
        return True

    def integer(self, *, unsigned: bool = False, least: int = -(2**31), most: int = 2**31 - 1) -> int:
        """Return a whole number from `least` to `most`."""
        if self.binary:
            size = self._take(1)
            if size != (b"\xfc" if unsigned else b"\x04"):
                self.at -= 1
                self.fail(f"{size!r} where a whole number should be", "is it the right file?")
            value = struct.unpack(_CODES[size], self._take(4))[0]
        else:
            value = int(self._number(r"-?\d{1,10}"))
        if not least <= value <= most:
            self.fail(f"{value} where a whole number from {least} to {most} should be")
        return value

    def real(self) -> float:
        """Return a finite real number."""
        if self.binary:
            size = self._take(1)[0]
            if size not in _REALS:
                self.at -= 1
                self.fail(f"{size} where a number should be", "is it the right file?")
            value = struct.unpack(_REALS[size], self._take(size))[0]
        else:
            value = self._number(r"[-+]?[0-9.]{1,60}([eE][-+]?\d{1,5})?")
        if not np.isfinite(value):
            self.fail("a number that is not finite")
        return float(value)

    def boolean(self) -> bool:
        """Return a boolean."""
        found = self._take(1).decode("latin-1") if self.binary else self.token()
        if found not in ("T", "F"):
            self.fail(f"{found[:20]!r} where T or F should be", "is it the right file?")
        return found == "T"

    def integers(self) -> NDArray[np.int32]:
        """Return a list of whole numbers in the form that models use, int32."""
        if not self.binary:
            self.expect("[")
            end = self.data.find(b"]", self.at)
            words = self.data[self.at : end].split() if end >= 0 else [b"x"]
            if not all(re.fullmatch(rb"-?\d{1,10}", word) and abs(int(word)) < 2**31 for word in words):
                self.fail("a list that is not of whole numbers")
            self.at = end + 1
            return np.array(list(map(int, words)), np.int32)
        count = self._count(self._take(1))
        return np.frombuffer(self._take(4 * count), "<i4")

    def vector(self) -> NDArray:
        """Return a vector, float32 or float64 as it is stored; float64 from text."""
        return self._array("V")

    def matrix(self) -> NDArray:
        """Return a matrix, float32 or float64 as it is stored; float64 from text."""
        return self._array("M")

    def _array(self, form: str) -> NDArray:
        if not self.binary:
            begin = self.at + len(self.data[self.at : self.at + 64]) - len(self.data[self.at : self.at + 64].lstrip())
            end = self.data.find(b"]", begin)
            if self.data[begin : begin + 1] != b"[" or end < 0:
                self.fail(
                    f"{self.data[begin : begin + 20]!r} where a {'matrix' if form == 'M' else 'vector'} should be"
                )
            try:
                value = text_reals(self.data[begin : end + 1], "matrix" if form == "M" else "vector")
            except ValueError as error:
                self.fail(str(error))
            self.at = end + 1
            return value
        kind = _TYPES[self.expect(f"F{form}", f"D{form}")[0]]
        shape = [self._count(self._take(1)) for _ in range(2 if form == "M" else 1)]
        if 0 in shape and any(shape):
            self.fail(f"a size of {' x '.join(map(str, shape))}")
        value = np.frombuffer(self._take(kind.itemsize * shape[0] * shape[-1] ** (len(shape) - 1)), kind)
        if not finite(value):
            self.fail("a value that is not finite")
        return value.reshape(shape)

    def _count(self, size: bytes) -> int:
        if size != b"\x04":
            self.fail(f"{size!r} where a size should be", "is it the right file?")
        count = struct.unpack("<i", self._take(4))[0]
        if count < 0:
            self.fail(f"a size of {count}")
        return count

    def _take(self, count: int) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            self.fail(f"cut off: {count} bytes are claimed, {left} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def _number(self, form: str) -> float:
        word = self.token()
        try:
            if re.fullmatch(form, word, re.ASCII):
                return float(word)
        except ValueError:
            pass
        self.fail(f"{word[:40]!r} where a number should be", "is it the right file?")


def read_tokens(path: str | os.PathLike[str]) -> Tokens:
    """Open a model, plain or gzip."""
    return Tokens(read_whole(path), os.fspath(path))
