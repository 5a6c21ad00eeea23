"""What a feed-forward nnet3 network computes, as a row of steps; all that is none is refused by name.

Read are networks of the node `input` alone: spliced once (`Append` of `Offset`), then a chain of components to the
node `output`, the last one a log-softmax. Batch normalisation is taken as in decoding: x -> target_rms (x - mean) /
sqrt(variance + epsilon), by its own statistics.
"""

import re
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.nnet3 import Component, Nnet3, Nnet3File
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Nonlinearity, Pnorm, Renorm, Stack, Step
from unisono.errors import UserError

MOST_CONTEXT = 1000  # frames on either side
_MOST_PARTS = 10_000
_NODE = re.compile(r"(input|output|component|dim-range)-node (.*)")
_PART = re.compile(r"Offset\( *([\w.-]+) *, *(-?\d+) *\)|([\w.-]+)")
_SCALES = {
    "FixedScaleComponent": "Scales", "PerElementScaleComponent": "Params",
    "NaturalGradientPerElementScaleComponent": "Params",
}  # fmt: skip
_SHIFTS = {"FixedBiasComponent": "Bias", "PerElementOffsetComponent": "Offsets"}
_ACTIVATIONS: dict[str, Nonlinearity] = {
    "SigmoidComponent": "sigmoid",
    "TanhComponent": "tanh",
    "RectifiedLinearComponent": "relu",
}
_AFFINE = ("AffineComponent", "NaturalGradientAffineComponent", "FixedAffineComponent")
_SAME = ("NoOpComponent", "DropoutComponent", "BackpropTruncationComponent")


def stack_of(file: Nnet3File, where: str) -> Stack:
    """Return the steps of a network. Raises UserError naming the node or component that cannot be expressed."""
    return _Chain(file.network, where).stack(file.priors)


class _Chain:
    def __init__(self, network: Nnet3, where: str) -> None:
        self._where = where
        self._components = {component.name: component for component in network.components}
        self._nodes: dict[str, tuple[str, Mapping[str, str]]] = {}
        for line in network.nodes:
            found = _NODE.fullmatch(line.strip())
            if found is None:
                self._fail(f"node {line[:60]!r} is not understood")
            # A descriptor holds blanks: values run to the next `word=`.
            fields = dict(re.findall(r"([\w-]+)=(.*?)(?= [\w-]+=|$)", found[2]))
            self._nodes[fields.get("name", "")] = (found[1], fields)

    def stack(self, priors: NDArray | None) -> Stack:
        inputs = [name for name, (kind, _) in self._nodes.items() if kind == "input"]
        if inputs != ["input"]:
            self._fail(f"inputs {', '.join(map(repr, inputs))}: only networks of the one input 'input' are read")
        steps: list[Step] = []
        node, seen = self._only("output"), set[str]()
        last = self._component(node)
        if last.kind != "LogSoftmaxComponent":
            self._fail(f"component {last.name!r}, the last one, is a {last.kind} and no log-softmax (a chain model?)")
        while True:
            if node in seen:
                self._fail(f"node {node!r} feeds itself: recurrent networks of this kind are not read")
            seen.add(node)
            if len(seen) > 1:  # the first is the log-softmax
                steps += self._steps(self._component(node))[::-1]
            parts = self._parts(node)
            if all(name == "input" for name, _ in parts):
                break
            if len(parts) != 1 or parts[0][1] != 0:
                self._fail(
                    f"node {node!r} takes {self._nodes[node][1]['input']!r}: splicing between layers is not read"
                )
            node = parts[0][0]
        offsets = tuple(offset for _, offset in parts)
        dim = self._nodes["input"][1].get("dim", "")
        if not re.fullmatch(r"[1-9]\d{0,6}", dim):
            self._fail(f"node 'input' has dimension {dim[:20]!r}")
        return Stack(self._where, int(dim), offsets, tuple(steps[::-1]), priors)

    def _only(self, name: str) -> str:
        if name not in self._nodes:
            self._fail(f"node {name!r} is not there")
        parts = self._parts(name)
        if len(parts) != 1 or parts[0][1] != 0:
            self._fail(f"node {name!r} takes more than one node")
        return parts[0][0]

    def _component(self, node: str) -> Component:
        kind, fields = self._nodes.get(node, ("", {}))
        if kind != "component":
            what = f"is a {kind}-node, and only component nodes are read" if kind else "is not there"
            self._fail(f"node {node!r} {what}")
        found = self._components.get(fields.get("component", ""))
        if found is None:
            self._fail(f"node {node!r}: its component is not there")
        return found

    def _parts(self, node: str) -> list[tuple[str, int]]:
        """Return the (node, offset) that are appended as the input of a node."""
        text = self._nodes[node][1].get("input", "")
        inner = text
        while (found := re.fullmatch(r"Append\((.*)\)", inner)) is not None:
            inner = found[1]
        parts, at = [], 0
        while True:
            part = _PART.match(inner, at)
            if part is None or len(parts) > _MOST_PARTS:
                self._fail(f"node {node!r} takes {text[:100]!r}: only Append and Offset are read")
            parts.append((part[1] or part[3], int(part[2] or 0)))
            if abs(parts[-1][1]) > MOST_CONTEXT:
                self._fail(f"node {node!r} takes a frame {parts[-1][1]} away, at most {MOST_CONTEXT} are read")
            at = part.end()
            if at == len(inner):
                return parts
            comma = re.compile(r" *, *").match(inner, at)
            if comma is None:
                self._fail(f"node {node!r} takes {text[:100]!r}: only Append and Offset are read")
            at = comma.end()

    def _steps(self, component: Component) -> list[Step]:
        kind = component.kind
        if kind in _AFFINE:
            weight, bias = self._array(component, "LinearParams", 2), self._array(component, "BiasParams", 1)
            if len(bias) != len(weight):
                self._fail(f"component {component.name!r}: its matrix and bias do not fit")
            return [Affine(weight, bias)]
        if kind == "LinearComponent":
            weight = self._array(component, "Params", 2)
            return [Affine(weight, np.zeros(len(weight), np.float32))]
        if kind in _SCALES:
            scale = self._array(component, _SCALES[kind], 1)
            return [Diagonal(scale, np.zeros(len(scale), np.float32))]
        if kind in _SHIFTS:
            shift = self._array(component, _SHIFTS[kind], 1)
            return [Diagonal(np.ones(len(shift), np.float32), shift)]
        if kind in _ACTIVATIONS:
            return [Activation(_ACTIVATIONS[kind])]
        if kind == "NormalizeComponent":
            return [self._renorm(component)]
        if kind == "BatchNormComponent":
            return [self._batch_norm(component)]
        if kind == "PnormComponent":
            return [self._pnorm(component)]
        scale = self._number(component, "Scale", 1.0)
        if kind in _SAME and scale == 1.0:
            return []
        scaled = f" with scale {scale:g}" if kind in _SAME else ""
        self._fail(f"component {component.name!r} is a {kind}{scaled}, which a feed-forward network here has not")

    def _renorm(self, component: Component) -> Renorm:
        dim = component.get("InputDim", component.get("Dim"))
        if component.get("AddLogStddev", False) or component.get("BlockDim", dim) != dim:
            self._fail(f"component {component.name!r}: normalisation in blocks or with its deviation is not read")
        return Renorm(self._number(component, "TargetRms", 1.0))

    def _pnorm(self, component: Component) -> Pnorm:
        inputs, outputs = (int(self._number(component, field, 0)) for field in ("InputDim", "OutputDim"))
        if not 0 < outputs <= inputs or inputs % outputs:
            self._fail(f"component {component.name!r}: p-norm from {inputs} to {outputs} numbers")
        return Pnorm(inputs, outputs)

    def _batch_norm(self, component: Component) -> Diagonal:
        mean = self._array(component, "StatsMean", 1).astype(np.float64)
        variance = self._array(component, "StatsVar", 1).astype(np.float64)
        dim = int(self._number(component, "Dim", 0))
        if len(mean) != len(variance) or dim % len(mean) or not self._number(component, "Count", 0.0):
            self._fail(f"component {component.name!r}: batch normalisation without statistics")
        spread = np.maximum(variance, 0.0) + self._number(component, "Epsilon", 1e-3)
        scale = self._number(component, "TargetRms", 1.0) / np.sqrt(spread)
        times = dim // len(mean)  # statistics of a block are those of all blocks
        return Diagonal(np.tile(scale, times), np.tile(-mean * scale, times))

    def _array(self, component: Component, field: str, rank: int) -> NDArray:
        value = component.get(field)
        if not isinstance(value, np.ndarray) or value.ndim != rank or not value.size:
            self._fail(f"component {component.name!r}: its {field} is missing or empty")
        return value

    def _number(self, component: Component, field: str, default: float) -> float:
        value = component.get(field, default)
        if not isinstance(value, int | float) or value < 0:
            self._fail(f"component {component.name!r}: its {field} is {value}")
        return float(value)

    def _fail(self, reason: str) -> NoReturn:
        raise UserError(f"{self._where}: {reason}: see docs/kaldi.md for the networks that are read")
