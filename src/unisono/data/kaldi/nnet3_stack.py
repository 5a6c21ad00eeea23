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
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Renorm, Stack, Step
from unisono.errors import UserError

MOST_CONTEXT = 1000  # frames on either side
_MOST_PARTS = 10_000
_NODE = re.compile(r"(input|output|component|dim-range)-node (.*)")
_PART = re.compile(r"Offset\( *([\w.-]+) *, *(-?\d+) *\)|([\w.-]+)")
_ACTIVATIONS = {"SigmoidComponent": "sigmoid", "TanhComponent": "tanh", "RectifiedLinearComponent": "relu"}
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
            steps += self._steps(self._component(node), last=node == self._only("output"))[::-1]
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

    def _steps(self, component: Component, last: bool) -> list[Step]:
        kind, get = component.kind, component.get
        if last:
            return []  # the log-softmax
        if kind in _AFFINE:
            return [self._affine(component, get("LinearParams"), get("BiasParams"))]
        if kind == "LinearComponent":
            weight = get("Params")
            return [self._affine(component, weight, np.zeros(len(weight), np.float32) if _is(weight, 2) else None)]
        if kind in ("FixedScaleComponent", "PerElementScaleComponent", "NaturalGradientPerElementScaleComponent"):
            scale = get("Scales") if kind == "FixedScaleComponent" else get("Params")
            return [self._diagonal(component, scale, None)]
        if kind in ("FixedBiasComponent", "PerElementOffsetComponent"):
            return [self._diagonal(component, None, get("Bias") if kind == "FixedBiasComponent" else get("Offsets"))]
        if kind in _ACTIVATIONS:
            return [Activation(_ACTIVATIONS[kind])]  # type: ignore[arg-type]
        if kind == "NormalizeComponent":
            return [self._renorm(component)]
        if kind == "BatchNormComponent":
            return [self._batch_norm(component)]
        if kind in _SAME and get("Scale", 1.0) == 1.0:
            return []
        scaled = f" with scale {get('Scale')}" if kind in _SAME else ""
        self._fail(f"component {component.name!r} is a {kind}{scaled}, which a feed-forward network here has not")

    def _affine(self, component: Component, weight: object, bias: object) -> Affine:
        if not (_is(weight, 2) and _is(bias, 1)) or len(bias) != len(weight) or not weight.size:  # type: ignore
            self._fail(f"component {component.name!r}: its matrix and bias do not fit")
        return Affine(weight, bias)  # type: ignore[arg-type]

    def _diagonal(self, component: Component, scale: object, shift: object) -> Diagonal:
        given = shift if scale is None else scale
        if not _is(given, 1) or not len(given):  # type: ignore[arg-type]
            self._fail(f"component {component.name!r}: no vector of scales or shifts")
        size = len(given)  # type: ignore[arg-type]
        return Diagonal(
            np.ones(size, np.float32) if scale is None else scale,  # type: ignore[arg-type]
            np.zeros(size, np.float32) if shift is None else shift,  # type: ignore[arg-type]
        )

    def _renorm(self, component: Component) -> Renorm:
        get = component.get
        dim = get("InputDim", get("Dim"))
        if get("AddLogStddev", False) or get("BlockDim", dim) != dim:
            self._fail(f"component {component.name!r}: normalisation in blocks or with its deviation is not read")
        target = get("TargetRms", 1.0)
        if not isinstance(target, float) or target <= 0:
            self._fail(f"component {component.name!r}: target-rms {target}")
        return Renorm(target)

    def _batch_norm(self, component: Component) -> Diagonal:
        get = component.get
        dim, mean, variance = get("Dim"), get("StatsMean"), get("StatsVar")
        sound = _is(mean, 1) and _is(variance, 1) and isinstance(dim, int) and len(mean) == len(variance) > 0  # type: ignore
        if not sound or dim % len(mean) or not get("Count"):  # type: ignore[operator, arg-type]
            self._fail(f"component {component.name!r}: batch normalisation without statistics")
        wide = np.maximum(np.asarray(variance, np.float64), 0.0) + float(get("Epsilon", 1e-3))  # type: ignore[arg-type]
        scale = float(get("TargetRms", 1.0)) / np.sqrt(wide)  # type: ignore[arg-type]
        times = dim // len(mean)  # type: ignore[operator, arg-type]
        return Diagonal(np.tile(scale, times), np.tile(-np.asarray(mean, np.float64) * scale, times))

    def _fail(self, reason: str) -> NoReturn:
        raise UserError(f"{self._where}: {reason}: see docs/kaldi.md for the networks that are read")


def _is(value: object, rank: int) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == rank
