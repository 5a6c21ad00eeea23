"""Decision trees that give each HMM state in its context of phones a PDF: nodes, evaluation, Kaldi's binary form.

A context is the tuple of phone ids (left, phone, right), or (phone,) for monophones; 0 stands outside the utterance.
Questions ask for one of these positions, or for the state (position CLASS).
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from unisono.errors import UserError

CLASS = -1  # Kaldi's kPdfClass


class Leaf(NamedTuple):
    """An end of the tree."""

    pdf: int


class Table(NamedTuple):
    """A branch for each value of a position; None where a value cannot occur."""

    position: int
    children: "tuple[Node | None, ...]"


class Split(NamedTuple):
    """A question: whether the value at `position` is one of `values` (sorted)."""

    position: int
    values: tuple[int, ...]
    yes: "Node"
    no: "Node"


Node = Leaf | Table | Split


def evaluate(node: Node | None, context: Sequence[int], state: int) -> int:
    """Return the PDF of a state (its number within the phone) in a context. Raises UserError where there is none."""
    while node is not None and not isinstance(node, Leaf):
        value = state if node.position == CLASS else context[node.position]
        if isinstance(node, Split):
            node = node.yes if value in node.values else node.no
        else:
            node = node.children[value] if 0 <= value < len(node.children) else None
    if node is None:
        raise UserError(f"the tree knows no phone like {tuple(context)} with state {state}: train it anew")
    return node.pdf


def leaves(node: Node | None) -> list[int]:
    """Return the PDFs at the ends of the tree, from left to right."""
    if node is None:
        return []
    if isinstance(node, Leaf):
        return [node.pdf]
    children = node.children if isinstance(node, Table) else (node.yes, node.no)
    return [pdf for child in children for pdf in leaves(child)]


def state_table(count: int, first_pdf: int) -> Table:
    """Give each of `count` states of a phone its own PDF, numbered from `first_pdf`."""
    return Table(CLASS, tuple(Leaf(first_pdf + state) for state in range(count)))


def shared_roots(phones: Iterable[int], variants: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the sets of phones that share a root, in order: the `variants`, and each other phone by itself."""
    known = {phone for group in variants for phone in group}
    return sorted([*(tuple(group) for group in variants), *((phone,) for phone in phones if phone not in known)])


def monophone_tree(states: Mapping[int, int], variants: Sequence[Sequence[int]] = ()) -> Table:
    """Build the tree of context width 1 in which each state of each phone has its own PDF.

    `states` is the number of states by phone id; PDFs are numbered by phone and state. The phones of each set in
    `variants` share theirs.
    """
    children: list[Node | None] = [None] * (max(states) + 1)
    first = 0
    for group in shared_roots(states, variants):
        for phone in group:
            children[phone] = state_table(states[group[0]], first)
        first += states[group[0]]
    return Table(0, tuple(children))


def to_kaldi(root: Node, context_width: int, central_position: int) -> bytes:
    """Serialise as Kaldi's ContextDependency in binary form, without the leading zero byte and B."""
    out = [b"ContextDependency ", _int(context_width), _int(central_position), b"ToPdf "]
    _write(root, out)
    return b"".join([*out, b"EndContextDependency "])


def from_kaldi(blob: bytes) -> tuple[Node, int, int]:
    """Read what `to_kaldi` writes: root, context width, central position. Raises UserError if damaged."""
    reader = _Reader(blob)
    try:
        reader.expect(b"ContextDependency ")
        width, central = reader.int(), reader.int()
        reader.expect(b"ToPdf ")
        root = reader.node()
        reader.expect(b"EndContextDependency ")
    except (struct.error, IndexError) as error:
        raise UserError(f"the tree is cut off ({error}): train it anew") from None
    if root is None:
        raise UserError("the tree is empty: train it anew")
    return root, width, central


def _int(value: int) -> bytes:
    return b"\x04" + struct.pack("<i", value)


def _write(node: Node | None, out: list[bytes]) -> None:
    if node is None:
        out.append(b"NULL ")
    elif isinstance(node, Leaf):
        out += [b"CE ", _int(node.pdf)]
    elif isinstance(node, Table):
        out += [b"TE ", _int(node.position), b"\xfc" + struct.pack("<I", len(node.children)), b"( "]
        for child in node.children:
            _write(child, out)
        out.append(b") ")
    else:
        values = struct.pack(f"<{len(node.values)}i", *node.values)
        out += [b"SE ", _int(node.position), b"\x04" + struct.pack("<i", len(node.values)) + values, b"{ "]
        _write(node.yes, out)
        _write(node.no, out)
        out.append(b"} ")


class _Reader:
    def __init__(self, blob: bytes) -> None:
        self._blob, self._at = blob, 0

    def expect(self, text: bytes) -> None:
        found = self._blob[self._at : self._at + len(text)]
        if found != text:
            raise UserError(f"the tree is damaged: {found!r} at byte {self._at}, expected {text!r}: train it anew")
        self._at += len(text)

    def int(self, size: bytes = b"\x04", code: str = "<i") -> int:
        self.expect(size)
        self._at += 4
        return struct.unpack_from(code, self._blob, self._at - 4)[0]

    def node(self) -> Node | None:
        kind = self._blob[self._at : self._at + 3]
        if kind == b"NUL":
            self.expect(b"NULL ")
            return None
        self._at += 3
        if kind == b"CE ":
            return Leaf(self.int())
        position = self.int()
        if kind == b"TE ":
            count = self.int(b"\xfc", "<I")
            self.expect(b"( ")
            children = tuple(self.node() for _ in range(count))
            self.expect(b") ")
            return Table(position, children)
        if kind != b"SE ":
            raise UserError(f"the tree is damaged: {kind!r} at byte {self._at - 3}: train it anew")
        count = self.int()
        values = struct.unpack_from(f"<{count}i", self._blob, self._at)
        self._at += 4 * count
        self.expect(b"{ ")
        yes, no = self.node(), self.node()
        self.expect(b"} ")
        if yes is None or no is None:
            raise UserError("the tree is damaged: a question without an answer: train it anew")
        return Split(position, values, yes, no)
