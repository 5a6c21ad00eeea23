"""Kaldi's decision tree, binary or text, checked and brought into its binary form.

Both forms are the same walk over tokens; nodes are kept on a stack of our own, so a deep tree costs no recursion here,
and a limit on the depth spares those who read the result.
"""

import os
import struct
from typing import NamedTuple

import numpy as np

from unisono.data.kaldi.tokens import Tokens, read_tokens

DEEPEST = 250  # questions on the way to a leaf
_CLASS = -1  # the position that asks for the pdf class


class Tree(NamedTuple):
    """`binary`: from `ContextDependency` to `EndContextDependency`, without the leading zero byte and B."""

    binary: bytes
    width: int  # phones that it looks at
    central: int  # position of the phone itself, from 0
    num_pdfs: int  # highest pdf and one


def read_tree(path: str | os.PathLike[str]) -> Tree:
    """Read a tree. Raises UserError naming file and byte."""
    tokens = read_tokens(path)
    tokens.expect("ContextDependency")
    width = tokens.integer(least=1, most=64)
    central = tokens.integer(least=0, most=width - 1)
    tokens.expect("ToPdf")
    out = [b"ContextDependency ", _integer(width), _integer(central), b"ToPdf "]
    highest = _walk(tokens, width, out)
    tokens.expect("EndContextDependency")
    if not tokens.at_end:
        tokens.fail("more after the tree", "is it the right file?")
    out.append(b"EndContextDependency ")
    return Tree(b"".join(out), width, central, highest + 1)


def _walk(tokens: Tokens, width: int, out: list[bytes]) -> int:
    """Copy one node with all below it; return the highest pdf."""
    highest = -1
    closing: list[tuple[int, bytes]] = [(1, b"")]  # of each node that is open: children to come, what closes it
    while closing:
        left, end = closing.pop()
        if not left:
            if end:
                tokens.expect(end.decode().strip())
                out.append(end)
            continue
        closing.append((left - 1, end))
        if len(closing) > DEEPEST:
            tokens.fail(f"a tree of more than {DEEPEST} questions in a row", "is it a tree of build-tree?")
        kind = tokens.expect("CE", "SE", "TE", "NULL")
        out.append(f"{kind} ".encode())
        if kind == "CE":
            pdf = tokens.integer(least=0)
            highest = max(highest, pdf)
            out.append(_integer(pdf))
        elif kind != "NULL":
            position = tokens.integer(least=_CLASS, most=width - 1)
            out.append(_integer(position))
            closing.append(_table(tokens, out) if kind == "TE" else _question(tokens, out))
    if highest < 0:
        tokens.fail("a tree without a pdf")
    return highest


def _table(tokens: Tokens, out: list[bytes]) -> tuple[int, bytes]:
    count = tokens.integer(unsigned=tokens.binary, least=0, most=len(tokens.data))
    tokens.expect("(")
    out += [b"\xfc" + struct.pack("<I", count), b"( "]
    return count, b") "


def _question(tokens: Tokens, out: list[bytes]) -> tuple[int, bytes]:
    values = tokens.integers()
    if not len(values) or (np.diff(values) <= 0).any():
        tokens.fail("a question whose values do not rise")
    tokens.expect("{")
    out += [b"\x04" + struct.pack("<i", len(values)) + values.tobytes(), b"{ "]
    return 2, b"} "


def _integer(value: int) -> bytes:
    return b"\x04" + struct.pack("<i", value)
