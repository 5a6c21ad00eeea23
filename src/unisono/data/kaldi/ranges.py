"""Rows and columns of a script's line: `[first:last]` and `[first:last,first:last]`."""

import logging
import re
from typing import NamedTuple

from numpy.typing import NDArray

log = logging.getLogger(__name__)

_AXIS = r"(?:(\d{1,10}):(\d{1,10})|:)"
_RANGE = re.compile(rf"\[{_AXIS}(?:,{_AXIS})?\]")
# Kaldi lets a range of rows end so far beyond the last: counts of frames differ between programs.
_SLACK = 3


class Range(NamedTuple):
    """First and last row and column, counted from 0; None where the axis is whole."""

    rows: tuple[int, int] | None
    columns: tuple[int, int] | None


def parse_range(text: str) -> Range:
    """Read a range with its brackets. Raises ValueError where it is none."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no range such as [0:99] or [0:99,0:12]")
    pairs = []
    for first, last in (found.groups()[:2], found.groups()[2:]):
        if first is not None and int(first) > int(last):
            raise ValueError(f"the range {text} ends before it begins")
        pairs.append(None if first is None else (int(first), int(last)))
    return Range(*pairs)


def cut(value: NDArray, wanted: Range, where: str) -> NDArray:
    """Return the rows (or numbers) and columns of a range.

    A range of rows that ends up to three beyond the last is cut with a warning that names `where`, as in Kaldi.
    Raises ValueError for any other that does not lie within.
    """
    if wanted.rows is not None:
        first, last = wanted.rows
        count = len(value)
        if first >= count or last >= count + _SLACK:
            raise ValueError(f"rows {first} to {last} of {count}")
        if last >= count:
            log.warning("%s: rows up to %d are asked for, the last is %d: cut", where, last, count - 1)
        value = value[first : last + 1]
    if wanted.columns is not None:
        first, last = wanted.columns
        if value.ndim != 2 or last >= value.shape[1]:
            raise ValueError(f"columns {first} to {last} of {value.shape[1] if value.ndim == 2 else 'a vector'}")
        value = value[:, first : last + 1]
    return value
