"""Numbers as Kaldi writes them in text, and whether numbers are finite."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

# `float` and `int` would take underscores, words such as nan, and digits of other scripts.
_REAL = b"0123456789+-.eE \t\r\n"
_WHOLE = b"0123456789- \t\r\n"


def finite(values: NDArray[np.floating]) -> bool:
    """Say whether all values are finite, by their sum as far as that can tell."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(values, axis=None)
    # What is not finite makes the sum so; a sum that is not finite may have overflowed.
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def text_integers(line: bytes) -> NDArray[np.int32]:
    """Return the whole numbers of a line, int32. Raises ValueError saying what is wrong."""
    _check_characters(line, _WHOLE, "a whole number")
    try:
        numbers = list(map(int, line.split()))
    except ValueError:
        raise ValueError(f"{line[:40]!r} holds what is no whole number") from None
    if any(not -(2**31) <= number < 2**31 for number in numbers):
        raise ValueError("a whole number beyond 32 bits")
    return np.array(numbers, np.int32)


def text_reals(text: bytes, kind: Literal["matrix", "vector"]) -> NDArray[np.float64]:
    """Return `[ 1 2 3 ]`, or a matrix with a row on each line, float64. Raises ValueError saying what is wrong."""
    text = text.strip()
    if text[:1] != b"[" or text[-1:] != b"]":
        raise ValueError("more on the line that closes a text value")
    inner = text[1:-1]
    values = reals(inner)
    rows = [row for row in inner.split(b"\n") if row.strip()]
    if kind == "vector":
        if len(rows) > 1:
            raise ValueError("a matrix where a vector should be")
        return values
    columns = {len(row.split()) for row in rows}
    if len(columns) > 1:
        raise ValueError(f"a text matrix with rows of {min(columns)} and of {max(columns)} numbers")
    return values.reshape(len(rows), columns.pop() if columns else 0)


def reals(text: bytes) -> NDArray[np.float64]:
    """Return numbers separated by blanks, float64. Raises ValueError where one is none, or not finite."""
    _check_characters(text, _REAL, "a number")
    try:
        values = np.array(list(map(float, text.split())), np.float64)
    except ValueError as error:
        raise ValueError(str(error)) from None
    if not finite(values):
        raise ValueError("a number that is not finite")
    return values


def _check_characters(text: bytes, allowed: bytes, what: str) -> None:
    others = text.translate(None, allowed)
    if others:
        raise ValueError(f"{others[:20]!r} where {what} should be")
