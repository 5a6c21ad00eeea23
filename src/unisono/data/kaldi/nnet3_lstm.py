"""What a recurrent nnet3 network computes, where it is made of fast-lstm or fast-lstmp layers of Kaldi's xconfig.

Such a layer is W_all, one affine component of the input and of r before; LstmNonlinearity, which takes the gates in the
order i, f, c, o and the cell before, and gives cell and output; with a projection W_rp, another affine component.
Names do not matter, the graph does. Layers made of single gates (lstm-layer), recurrence over several frames,
bidirectional layers and time delays between layers are refused by name.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.nnet3 import Nnet3File
from unisono.data.kaldi.nnet3_nodes import AFFINE, Nodes, Term
from unisono.data.kaldi.stack import Affine, Cell, RecurrentStack

NONLINEARITY = "LstmNonlinearityComponent"
_SAME = ("NoOpComponent", "BackpropTruncationComponent", "DropoutComponent")
_DEEPEST = 50
GATES = (0, 1, 3, 2)  # Kaldi's place of our i, f, o, c


class _Part(NamedTuple):
    """A range of what a component node gives."""

    node: str
    begin: int
    size: int


def recurrent(file: Nnet3File) -> bool:
    """Say whether a network has LSTM layers of the kind that is read here."""
    return any(component.kind == NONLINEARITY for component in file.network.components)


def cells_of(file: Nnet3File, where: str) -> RecurrentStack:
    """Return the layers of a network. Raises UserError naming the node that cannot be expressed."""
    return _Reader(Nodes(file.network, where)).stack(file.priors)


class _Reader:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def stack(self, priors: NDArray | None) -> RecurrentStack:
        nodes, dim = self._nodes, self._nodes.input_dim()
        last = nodes.only("output")
        end = nodes.component(last.node)
        if end.kind != "LogSoftmaxComponent" or last.optional or last.offset < 0:
            nodes.fail(
                f"node 'output' takes {nodes.text('output')}, a {end.kind}: it must be a log-softmax, then delay"
            )
        affine = self._plain(last.node)
        output = nodes.component(affine)
        if output.kind not in AFFINE:
            nodes.fail(f"component {output.name!r} is a {output.kind}: the output layer must be affine")
        cells: list[Cell] = []
        top, seen = self._plain(affine), {affine}
        while True:
            if top in seen:
                nodes.fail(f"node {top!r} feeds itself")
            seen.add(top)
            cell, below = self._layer(top)
            cells.append(cell)
            if all(term.node == "input" for term in below):
                break
            if len(below) != 1 or below[0].offset or below[0].optional:
                nodes.fail(f"a layer above node {below[0].node!r} splices: splicing between layers is not read")
            top = self._through(below[0].node)
        offsets = tuple(term.offset for term in below)
        return RecurrentStack(
            nodes.where, dim, offsets, tuple(cells[::-1]), Affine(*nodes.affine(output)), last.offset, priors
        )

    def _layer(self, top: str) -> tuple[Cell, list[Term]]:
        """Return the layer that ends in the node `top`, and what it takes from below."""
        nodes, projection, inner = self._nodes, None, top
        if nodes.nodes.get(top, ("",))[0] == "component" and nodes.component(top).kind in AFFINE:
            projection = Affine(*nodes.affine(nodes.component(top)))
            inner = self._plain(top)
        (unit,) = self._parts(inner) if len(self._parts(inner)) == 1 else [_Part("", 0, 0)]
        if not unit.node or nodes.component(unit.node).kind != NONLINEARITY:
            nodes.fail(f"node {top!r} is no LSTM layer of the forms that are read (fast-lstm-layer, fast-lstmp-layer)")
        component = nodes.component(unit.node)
        peepholes = nodes.array(component, "Params", 2)
        size = peepholes.shape[1]
        if len(peepholes) != 3 or (unit.begin, unit.size) != (size, size) or component.get("UseDropout", False):
            nodes.fail(f"node {inner!r}: not the output of an LSTM without dropout of its gates")
        gates, state = self._pair(unit.node)
        if self._back(state, unit.node) != [_Part(unit.node, 0, size)]:
            nodes.fail(f"node {unit.node!r} takes {nodes.text(unit.node)}: the second must be its own cell before")
        weight, bias = nodes.affine(nodes.component(gates.node))
        *below, back = nodes.terms(gates.node)
        (fed,) = self._back(back, gates.node) or [_Part("", 0, 0)]
        own = _Part(unit.node, size, size) if projection is None else _Part(top, 0, fed.size)
        if fed != own or not below or len(weight) != 4 * size:
            nodes.fail(
                f"node {gates.node!r} takes {nodes.text(gates.node)}: the last must be the layer's output before"
            )
        if projection is not None and (fed.size > len(projection.bias) or projection.weight.shape[1] != size):
            nodes.fail(f"node {top!r}: its projection does not fit {size} cells")
        order = np.concatenate([np.arange(size) + size * place for place in GATES])
        return Cell(Affine(weight[order], bias[order]), peepholes, projection, fed.size), below

    def _pair(self, node: str) -> tuple[Term, Term]:
        found = self._nodes.terms(node)
        if len(found) != 2 or found[0].offset or found[0].optional:
            self._nodes.fail(f"node {node!r} takes {self._nodes.text(node)}: gates and the cell before are read")
        if self._nodes.component(found[0].node).kind not in AFFINE:
            self._nodes.fail(f"node {found[0].node!r}: the gates of an LSTM must be one affine component")
        return found[0], found[1]

    def _back(self, term: Term, node: str) -> list[_Part]:
        """Return what a recurrent term stands for."""
        if not term.optional or term.offset != -1:
            what = (
                f"recurrence over {abs(term.offset)} frames: ours is over one" if term.offset < -1 else "no recurrence"
            )
            self._nodes.fail(f"node {node!r} takes {self._nodes.text(node)}, {what}")
        return self._parts(term.node)

    def _parts(self, node: str, depth: int = 0) -> list[_Part]:
        """Return what a node gives as ranges of component nodes, through ranges and components that change nothing."""
        nodes = self._nodes
        kind, fields = nodes.nodes.get(node, ("", {}))
        if depth > _DEEPEST:
            nodes.fail(f"node {node!r}: ranges of ranges without end")
        if kind == "dim-range":
            sizes = [fields.get(key, "") for key in ("dim-offset", "dim")]
            if not all(text.isdecimal() and len(text) < 8 for text in sizes):
                nodes.fail(f"node {node!r}: a range of {sizes}")
            return _cut(self._parts(fields.get("input-node", ""), depth + 1), int(sizes[0]), int(sizes[1]))
        component = nodes.component(node)
        if component.kind in _SAME:
            if nodes.number(component, "Scale", 1.0) != 1.0 or component.get("DropoutProportion", 0.0):
                nodes.fail(f"component {component.name!r} scales what it is given: not read within an LSTM")
            terms = nodes.terms(node)
            if any(term.offset or term.optional for term in terms):
                nodes.fail(f"node {node!r} takes {nodes.text(node)}: no other frame is read here")
            return _joined([part for term in terms for part in self._parts(term.node, depth + 1)])
        if component.kind == NONLINEARITY:
            return [_Part(node, 0, 2 * nodes.array(component, "Params", 2).shape[1])]
        if component.kind not in AFFINE:
            nodes.fail(f"component {component.name!r} is a {component.kind}, which an LSTM here has not")
        return [_Part(node, 0, len(nodes.affine(component)[1]))]

    def _plain(self, node: str) -> str:
        """Return the one node that a node takes, at the same frame."""
        found = self._nodes.only(node)
        if found.offset or found.optional:
            self._nodes.fail(f"node {node!r} takes {self._nodes.text(node)}: no other frame is read here")
        return self._through(found.node)

    def _through(self, node: str) -> str:
        """Return the node itself, or the one below where it changes nothing."""
        for _ in range(_DEEPEST):
            if self._nodes.nodes.get(node, ("",))[0] != "component" or self._nodes.component(node).kind not in _SAME:
                return node
            (part,) = self._parts(node) if len(self._parts(node)) == 1 else [_Part("", 0, 0)]
            found = self._nodes.only(node)
            if not part.node or found.offset or found.optional:
                break
            node = found.node
        self._nodes.fail(f"node {node!r} takes {self._nodes.text(node)}: not understood")


def _cut(parts: list[_Part], begin: int, size: int) -> list[_Part]:
    """Return a range of joined parts."""
    found, at = [], 0
    for part in parts:
        first, last = max(begin, at), min(begin + size, at + part.size)
        if first < last:
            found.append(_Part(part.node, part.begin + first - at, last - first))
        at += part.size
    return found


def _joined(parts: list[_Part]) -> list[_Part]:
    """Return parts with those joined that follow each other in one node."""
    found: list[_Part] = []
    for part in parts:
        if found and found[-1].node == part.node and found[-1].begin + found[-1].size == part.begin:
            found[-1] = found[-1]._replace(size=found[-1].size + part.size)
        else:
            found.append(part)
    return found
