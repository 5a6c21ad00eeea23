"""One value of an archive: a matrix, a vector or whole numbers, binary or text; checked before it is read.

The seven binary forms of real numbers (FM, FV, DM, DV, CM, CM2, CM3) are read by kaldiio, at a place where token, sizes
and length have been found sound: kaldiio itself would unpickle, start commands and believe any size. Text and whole
numbers are read here. All that is returned is finite.
"""

import io
import math
import struct
from typing import Any, Literal

import kaldiio.matio
import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.numbers import finite, text_integers, text_reals
from unisono.data.kaldi.source import LONGEST, Source

Kind = Literal["matrix", "vector", "integers"]

_BINARY = b"\0B"
_ELEMENT = np.dtype([("size", "u1"), ("value", "<i4")])  # each whole number carries its size, 4
_GLOBAL = struct.Struct("<ffii")  # least value, range, rows, columns of a compressed matrix
_COLUMN = 8  # bytes a column: four percentiles, uint16
_SIZES = {"matrix": struct.Struct("<BiBi"), "vector": struct.Struct("<Bi")}
_WIDTH = {b"F": 4, b"D": 8}
_NAMES = {"matrix": "a matrix", "vector": "a vector", "integers": "whole numbers"}


def read_value(source: Source, kind: Kind) -> NDArray:
    """Read the value that begins at the source's place.

    Returns float32 or float64 [rows, columns] or [n] (text: float64), read-only; int32 [n] for whole numbers.
    Raises UserError naming file, key and byte for anything else.
    """
    head = source.read_byte()
    if head == _BINARY[:1]:
        if source.read_byte() != _BINARY[1:]:
            source.fail("neither Kaldi's text nor its binary form", "is it a Kaldi archive?")
        value: NDArray = _integers(source) if kind == "integers" else _reals(source, kind)
    else:
        value = _text(source, head, kind)
    return value


def _text(source: Source, head: bytes, kind: Kind) -> NDArray:
    if kind == "integers":
        line = head if head == b"\n" else head + source.read_line(LONGEST)
        if not line:
            source.fail("cut off after the key")
        try:
            return text_integers(line)
        except ValueError as error:
            source.fail(str(error), "is it an archive of whole numbers?")
    lines, room = [head], LONGEST
    if head != b"\n":
        lines[0] += source.read_line(room)
    if not lines[0].lstrip().startswith(b"["):
        source.fail(f"{lines[0][:20]!r} where {_NAMES[kind]} should begin", "is it a Kaldi archive?")
    while b"]" not in lines[-1]:
        line = source.read_line(room)
        room -= len(line)
        if not line or room <= 0:
            source.fail("a text value without its closing bracket")
        lines.append(line)
    try:
        return text_reals(b"".join(lines), kind)
    except ValueError as error:
        source.fail(str(error))


def _integers(source: Source) -> NDArray[np.int32]:
    begin = source.read(1)
    if begin != b"\4":
        source.fail(f"{begin!r} where whole numbers should begin", "is it an archive of alignments?")
    (count,) = struct.unpack("<i", source.read(4))
    if count < 0:
        source.fail(f"{count} whole numbers")
    data = np.frombuffer(source.read(count * _ELEMENT.itemsize), _ELEMENT)
    if (data["size"] != 4).any():
        source.fail("whole numbers that are not of 4 bytes")
    return np.ascontiguousarray(data["value"])


def _reals(source: Source, kind: Kind) -> NDArray:
    begin = source.tell() - len(_BINARY)
    token = source.read(3)
    if token[:2] == b"CM" and token != b"CM ":
        token += source.read(1)
    shape = {b"M": "matrix", b"V": "vector"}.get(token[1:2])
    if token not in (b"FM ", b"FV ", b"DM ", b"DV ", b"CM ", b"CM2 ", b"CM3 ") or shape != kind:
        source.fail(f"{token!r} where {_NAMES[kind]} should begin", "is it the right archive?")
    if token[:1] == b"C":
        header, length, empty = _compressed_header(source, token)
    else:
        header, length, empty = _plain_header(source, token, kind)
    source.require(length)
    if empty:
        return np.zeros((0, 0) if kind == "matrix" else 0, np.float32)
    if source.plain:
        source.seek(begin)
        file = source.file
    else:
        file = io.BytesIO(_BINARY + token + header + source.read(length))
    try:
        value: Any = kaldiio.matio.read_kaldi(file)  # an array: tokens of audio and others did not pass
    except (ValueError, struct.error, AssertionError) as error:
        source.fail(f"not readable ({error})")
    if token[:1] != b"C" and not finite(value):  # those are finite by their header
        source.fail("a value that is not finite", "find out where it came from and compute it anew")
    return value


def _plain_header(source: Source, token: bytes, kind: Kind) -> tuple[bytes, int, bool]:
    form = _SIZES[kind]
    header = source.read(form.size)
    fields = form.unpack(header)
    sizes, counts = fields[::2], fields[1::2]
    if sizes != (4,) * len(counts):
        source.fail("sizes that are not of 4 bytes")
    _check_shape(source, counts)
    return header, math.prod(counts) * _WIDTH[token[:1]], not counts[0]


def _compressed_header(source: Source, token: bytes) -> tuple[bytes, int, bool]:
    header = source.read(_GLOBAL.size)
    least, spread, rows, columns = _GLOBAL.unpack(header)
    _check_shape(source, (rows, columns))
    if not rows:
        return header, 0, True
    if not (math.isfinite(least) and math.isfinite(least + spread) and spread >= 0):
        source.fail(f"compressed values from {least} over a range of {spread}")
    length = rows * columns * (2 if token == b"CM2 " else 1)
    if token == b"CM ":
        source.require(columns * _COLUMN + length)
        percentiles = source.read(columns * _COLUMN)
        four = np.frombuffer(percentiles, "<u2").reshape(columns, 4)
        if (four[:, 1:] < four[:, :-1]).any():
            source.fail("compressed values whose percentiles fall")
        header += percentiles
    return header, length, False


def _check_shape(source: Source, counts: tuple[int, ...]) -> None:
    if min(counts) < 0 or (0 in counts and any(counts)):
        source.fail(f"a size of {' x '.join(map(str, counts))}")
