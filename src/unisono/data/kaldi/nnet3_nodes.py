"""The nodes of an nnet3 network and what they take: its config lines, joined with its components."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.nnet3 import Component, Nnet3
from unisono.errors import UserError

MOST_CONTEXT = 1000  # frames on either side
AFFINE = ("AffineComponent", "NaturalGradientAffineComponent", "FixedAffineComponent")
_MOST_TERMS, _DEEPEST = 10_000, 20
_NODE = re.compile(r"(input|output|component|dim-range)-node (.*)")
_WORD = re.compile(r" *(Append|Offset|IfDefined|[\w.-]+|[(),]) *")


class Term(NamedTuple):
    """A node whose output at frame t + offset is taken at frame t; optional: zeros where there is none."""

    node: str
    offset: int
    optional: bool


class Nodes:
    """The nodes by name; all methods raise UserError naming the file and the node or component."""

    def __init__(self, network: Nnet3, where: str) -> None:
        """`where` names the file."""
        self.where = where
        self.components = {component.name: component for component in network.components}
        self.nodes: dict[str, tuple[str, Mapping[str, str]]] = {}
        for line in network.nodes:
            found = _NODE.fullmatch(line.strip())
            if found is None:
                self.fail(f"node {line[:60]!r} is not understood")
            # A descriptor holds blanks: values run to the next `word=`.
            fields = dict(re.findall(r"([\w-]+)=(.*?)(?= [\w-]+=|$)", found[2]))
            self.nodes[fields.get("name", "")] = (found[1], fields)

    def input_dim(self) -> int:
        """Return the dimension of the node `input`, which must be the only one of its kind."""
        inputs = [name for name, (kind, _) in self.nodes.items() if kind == "input"]
        if inputs != ["input"]:
            self.fail(f"inputs {', '.join(map(repr, inputs))}: only networks of the one input 'input' are read")
        dim = self.nodes["input"][1].get("dim", "")
        if not re.fullmatch(r"[1-9]\d{0,6}", dim):
            self.fail(f"node 'input' has dimension {dim[:20]!r}")
        return int(dim)

    def component(self, node: str) -> Component:
        """Return the component of a component node."""
        kind, fields = self.nodes.get(node, ("", {}))
        if kind != "component":
            what = f"is a {kind}-node, and only component nodes are read" if kind else "is not there"
            self.fail(f"node {node!r} {what}")
        found = self.components.get(fields.get("component", ""))
        if found is None:
            self.fail(f"node {node!r}: its component is not there")
        return found

    def text(self, node: str) -> str:
        """Return what a node takes, as it is written, for messages."""
        return repr(self.nodes[node][1].get("input", "")[:100])

    def terms(self, node: str) -> list[Term]:
        """Return what is appended as the input of a node."""
        if node not in self.nodes:
            self.fail(f"node {node!r} is not there")
        text = self.nodes[node][1].get("input", "")
        words, at = [], 0
        while at < len(text) and (word := _WORD.match(text, at)) is not None:
            words.append(word[1])
            at = word.end()
        found = _Descriptor(words).read() if at == len(text) else None
        if not found:
            self.fail(f"node {node!r} takes {self.text(node)}: only Append and Offset are read")
        far = max(found, key=lambda term: abs(term.offset)).offset
        if abs(far) > MOST_CONTEXT:
            self.fail(f"node {node!r} takes a frame {far} away, at most {MOST_CONTEXT} are read")
        return found

    def only(self, node: str) -> Term:
        """Return what a node takes, which must be a single term."""
        found = self.terms(node)
        if len(found) != 1:
            self.fail(f"node {node!r} takes more than one node")
        return found[0]

    def affine(self, component: Component) -> tuple[NDArray, NDArray]:
        """Return matrix and bias of an affine component."""
        weight, bias = self.array(component, "LinearParams", 2), self.array(component, "BiasParams", 1)
        if len(bias) != len(weight):
            self.fail(f"component {component.name!r}: its matrix and bias do not fit")
        return weight, bias

    def array(self, component: Component, field: str, rank: int) -> NDArray:
        """Return a field that is a vector (rank 1) or matrix (2) and not empty."""
        value = component.get(field)
        if not isinstance(value, np.ndarray) or value.ndim != rank or not value.size:
            self.fail(f"component {component.name!r}: its {field} is missing or empty")
        return value

    def number(self, component: Component, field: str, default: float) -> float:
        """Return a field that is a number, 0 or more."""
        value = component.get(field, default)
        if not isinstance(value, int | float) or value < 0:
            self.fail(f"component {component.name!r}: its {field} is {value}")
        return float(value)

    def fail(self, reason: str) -> NoReturn:
        """Raise UserError naming the file."""
        raise UserError(f"{self.where}: {reason}: see docs/kaldi.md for the networks that are read")


class _Descriptor:
    """Append, Offset and IfDefined of nodes, from words to terms."""

    def __init__(self, words: list[str]) -> None:
        self._words, self._at = words, 0

    def read(self) -> list[Term] | None:
        """Return the terms, None where the words are anything else."""
        try:
            found = list(self._term(0, False, 0))
        except (LookupError, ValueError):
            return None
        return found if self._at == len(self._words) and len(found) <= _MOST_TERMS else None

    def _term(self, offset: int, optional: bool, depth: int) -> Iterator[Term]:
        word = self._next()
        if depth > _DEEPEST or word in ("(", ")", ","):
            raise ValueError(word)
        if word not in ("Append", "Offset", "IfDefined"):
            yield Term(word, offset, optional)
            return
        self._expect("(")
        found = list(self._term(0, optional or word == "IfDefined", depth + 1))
        if word == "Offset":
            self._expect(",")
            offset += int(self._next())
        while word == "Append" and self._words[self._at] == ",":
            self._at += 1
            found += self._term(0, optional, depth + 1)
        self._expect(")")
        yield from (Term(term.node, term.offset + offset, term.optional) for term in found)

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1]

    def _expect(self, word: str) -> None:
        if self._next() != word:
            raise ValueError(word)
