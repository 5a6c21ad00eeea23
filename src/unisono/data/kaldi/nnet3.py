"""nnet3 networks: every field of every component as it stands in the file, and the same bytes written back.

A file is `<Nnet3>`, the nodes as lines of text, and the components; a model (`final.mdl`) has the transition model
before it and context and priors after it. What a component computes is the business of `nnet3_stack`.
"""

import os
import re
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.tokens import Tokens, read_tokens
from unisono.data.kaldi.transitions import Transitions, read_transitions

Value = bool | int | float | NDArray | None
# The others of four bytes are reals, those of eight are doubles.
_INTEGERS = {
    "Dim", "InputDim", "OutputDim", "BlockDim", "Rank", "RankIn", "RankOut", "UpdatePeriod", "ZeroingInterval",
    "RecurrenceInterval",
}  # fmt: skip
# Components whose fields are numbers, booleans, vectors and matrices only.
KINDS = {
    "AffineComponent", "BackpropTruncationComponent", "BatchNormComponent", "DropoutComponent",
    "ElementwiseProductComponent", "FixedAffineComponent", "FixedBiasComponent", "FixedScaleComponent",
    "LinearComponent", "LogSoftmaxComponent", "LstmNonlinearityComponent", "NaturalGradientAffineComponent",
    "NaturalGradientPerElementScaleComponent", "NoOpComponent", "NormalizeComponent", "PerElementOffsetComponent",
    "PerElementScaleComponent", "PnormComponent", "RectifiedLinearComponent", "SigmoidComponent", "SoftmaxComponent",
    "TanhComponent",
}  # fmt: skip
_MOST_NODES = 100_000


class Field(NamedTuple):
    """A token and its value, None where it has none; `wide`: a number of eight bytes."""

    name: str
    value: Value
    wide: bool = False


class Component(NamedTuple):
    """A component with its fields in the file's order."""

    name: str
    kind: str
    fields: tuple[Field, ...]

    def get(self, name: str, default: Value = None) -> Value:
        """Return the value of a field."""
        return next((field.value for field in self.fields if field.name == name), default)


class Nnet3(NamedTuple):
    """A network: `nodes` are its config lines, without an end."""

    nodes: tuple[str, ...]
    components: tuple[Component, ...]


class Nnet3File(NamedTuple):
    """What a raw network or a model holds; the others are None in a raw network."""

    network: Nnet3
    transitions: Transitions | None
    context: tuple[int, int] | None
    priors: NDArray | None  # probabilities [pdfs]


def read_nnet3(path: str | os.PathLike[str]) -> Nnet3File:
    """Read `final.raw` or `final.mdl` of nnet3, binary or text. Raises UserError naming file, byte and component."""
    tokens = read_tokens(path)
    if tokens.peek() == "<Nnet3>":
        network = _network(tokens)
        found = Nnet3File(network, None, None, None)
    else:
        transitions = read_transitions(tokens)
        if tokens.peek() == "<DIMENSION>":
            tokens.fail("mixtures where a network should be", "give the final.mdl of an nnet3 system")
        network = _network(tokens)
        tokens.expect("<LeftContext>")
        left = tokens.integer(least=0)
        tokens.expect("<RightContext>")
        right = tokens.integer(least=0)
        tokens.expect("<Priors>")
        priors = tokens.vector()
        if (priors <= 0).any():
            tokens.fail("a prior that is not positive", "adjust the priors (nnet3-am-adjust-priors)")
        found = Nnet3File(network, transitions, (left, right), priors if len(priors) else None)
    if not tokens.at_end:
        tokens.fail("more after the network", "is it the right file?")
    return found


def _network(tokens: Tokens) -> Nnet3:
    tokens.expect("<Nnet3>")
    begin = tokens.data.find(b"\n", tokens.at - 1) + 1
    end = tokens.data.find(b"\n\n", begin)
    if not begin or end < 0:
        tokens.fail("a network without nodes")
    nodes = tokens.data[begin:end].decode("latin-1").splitlines()
    if len(nodes) > _MOST_NODES:
        tokens.fail(f"{len(nodes)} nodes, at most {_MOST_NODES} are read")
    tokens.at = end + 2
    tokens.expect("<NumComponents>")
    components = []
    for _ in range(tokens.integer(least=0, most=len(tokens.data))):
        tokens.expect("<ComponentName>")
        name = tokens.token()
        kind = tokens.token().strip("<>")
        if kind not in KINDS:
            tokens.fail(f"component {name[:60]!r} is a {kind[:60]}, which is not known here", "see docs/kaldi.md")
        components.append(Component(name, kind, tuple(_fields(tokens, kind))))
    tokens.expect("</Nnet3>")
    return Nnet3(tuple(nodes), tuple(components))


def _fields(tokens: Tokens, kind: str) -> list[Field]:
    fields = []
    while (token := tokens.token()) != f"</{kind}>":
        if not re.fullmatch(r"<[A-Za-z0-9-]+>", token):
            tokens.fail(f"{token[:40]!r} where a field of {kind} should be")
        name = token.strip("<>")
        fields.append(_binary_field(tokens, name) if tokens.binary else _text_field(tokens, name))
    return fields


def _binary_field(tokens: Tokens, name: str) -> Field:
    ahead = tokens.data[tokens.at : tokens.at + 3]
    if ahead in (b"FM ", b"DM "):
        return Field(name, tokens.matrix(), ahead[:1] == b"D")
    if ahead in (b"FV ", b"DV "):
        return Field(name, tokens.vector(), ahead[:1] == b"D")
    if ahead[:1] in (b"T", b"F"):
        return Field(name, tokens.boolean())
    if ahead[:1] == b"<":
        return Field(name, None)
    if name in _INTEGERS:
        return Field(name, tokens.integer())
    return Field(name, tokens.real(), ahead[:1] == b"\x08")


def _text_field(tokens: Tokens, name: str) -> Field:
    ahead = tokens.peek()
    if ahead == "[":
        begin = tokens.data.find(b"[", tokens.at) + 1
        return Field(name, tokens.matrix() if tokens.data[begin : begin + 1] == b"\n" else tokens.vector())
    if ahead in ("T", "F"):
        return Field(name, tokens.boolean())
    if ahead.startswith("<"):
        return Field(name, None)
    return Field(name, tokens.integer() if name in _INTEGERS else tokens.real())


def network_bytes(network: Nnet3) -> bytes:
    """Return the binary form from `<Nnet3>` to `</Nnet3>`, without the leading zero byte and B."""
    out = [b"<Nnet3> \n", "".join(f"{line}\n" for line in network.nodes).encode(), b"\n<NumComponents> "]
    out.append(integer_bytes(len(network.components)))
    for component in network.components:
        out.append(f"<ComponentName> {component.name} <{component.kind}> ".encode())
        for field in component.fields:
            out.append(f"<{field.name}> ".encode() + _value_bytes(field))
        out.append(f"</{component.kind}> ".encode())
    return b"".join([*out, b"</Nnet3> "])


def integer_bytes(value: int) -> bytes:
    """Return a whole number as models hold it."""
    return b"\x04" + struct.pack("<i", value)


def array_bytes(value: NDArray) -> bytes:
    """Return a vector or matrix as models hold it: doubles as such, everything else as float32."""
    letter, kind = ("D", "<f8") if value.dtype == np.float64 else ("F", "<f4")
    sizes = b"".join(map(integer_bytes, value.shape))
    return f"{letter}{'VM'[value.ndim - 1]} ".encode() + sizes + np.ascontiguousarray(value, kind).tobytes()


def _value_bytes(field: Field) -> bytes:
    value = field.value
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"T" if value else b"F"
    if isinstance(value, int):
        return integer_bytes(value)
    if isinstance(value, float):
        return b"\x08" + struct.pack("<d", value) if field.wide else b"\x04" + struct.pack("<f", value)
    return array_bytes(value)
