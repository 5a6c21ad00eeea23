"""What a feed-forward nnet3 network computes, as a row of steps; all that is none is refused by name.

Read are networks of the node `input` alone: spliced once (`Append` of `Offset`), then a chain of components to the
node `output`, the last one a log-softmax. Batch normalisation is taken as in decoding: x -> target_rms (x - mean) /
sqrt(variance + epsilon), by its own statistics.
"""

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.nnet3 import Component, Nnet3File
from unisono.data.kaldi.nnet3_nodes import AFFINE, Nodes, Term
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Nonlinearity, Pnorm, Renorm, Stack, Step

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
_SAME = ("NoOpComponent", "BackpropTruncationComponent")


def stack_of(file: Nnet3File, where: str) -> Stack:
    """Return the steps of a network. Raises UserError naming the node or component that cannot be expressed."""
    return _Chain(Nodes(file.network, where)).stack(file.priors)


class _Chain:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def stack(self, priors: NDArray | None) -> Stack:
        nodes, dim = self._nodes, self._nodes.input_dim()
        steps: list[Step] = []
        last, seen = nodes.only("output"), set[str]()
        node = last.node
        component = nodes.component(node)
        if component.kind != "LogSoftmaxComponent":
            nodes.fail(
                f"component {component.name!r}, the last one, is a {component.kind} and no log-softmax (a chain model?)"
            )
        if last.offset:
            nodes.fail(f"node 'output' takes {nodes.text('output')}: a delay goes with recurrent layers")
        while True:
            if node in seen:
                nodes.fail(f"node {node!r} feeds itself: recurrent networks of this kind are not read")
            seen.add(node)
            if len(seen) > 1:  # the first is the log-softmax
                steps += self._steps(nodes.component(node))[::-1]
            terms = self._terms(node)
            if all(term.node == "input" for term in terms):
                break
            if len(terms) != 1 or terms[0].offset:
                nodes.fail(f"node {node!r} takes {nodes.text(node)}: splicing between layers is not read")
            node = terms[0].node
        return Stack(nodes.where, dim, tuple(term.offset for term in terms), tuple(steps[::-1]), priors)

    def _terms(self, node: str) -> list[Term]:
        found = self._nodes.terms(node)
        if any(term.optional for term in found):
            self._nodes.fail(f"node {node!r} takes {self._nodes.text(node)}: only Append and Offset are read")
        return found

    def _steps(self, component: Component) -> list[Step]:
        kind = component.kind
        if kind in AFFINE:
            return [Affine(*self._nodes.affine(component))]
        if kind == "LinearComponent":
            weight = self._nodes.array(component, "Params", 2)
            return [Affine(weight, np.zeros(len(weight), np.float32))]
        if kind in _SCALES:
            scale = self._nodes.array(component, _SCALES[kind], 1)
            return [Diagonal(scale, np.zeros(len(scale), np.float32))]
        if kind in _SHIFTS:
            shift = self._nodes.array(component, _SHIFTS[kind], 1)
            return [Diagonal(np.ones(len(shift), np.float32), shift)]
        if kind in _ACTIVATIONS:
            return [Activation(_ACTIVATIONS[kind])]
        if kind == "NormalizeComponent":
            return [self._renorm(component)]
        if kind == "BatchNormComponent":
            return [self._batch_norm(component)]
        if kind == "PnormComponent":
            return [self._pnorm(component)]
        if kind == "DropoutComponent":
            return self._dropout(component)
        scale = self._nodes.number(component, "Scale", 1.0)
        if kind in _SAME and scale == 1.0:
            return []
        scaled = f" with scale {scale:g}" if kind in _SAME else ""
        self._nodes.fail(f"component {component.name!r} is a {kind}{scaled}, which a feed-forward network here has not")

    def _renorm(self, component: Component) -> Renorm:
        dim = component.get("InputDim", component.get("Dim"))
        if component.get("AddLogStddev", False) or component.get("BlockDim", dim) != dim:
            self._nodes.fail(f"component {component.name!r}: normalisation in blocks or with its deviation is not read")
        return Renorm(self._nodes.number(component, "TargetRms", 1.0))

    def _dropout(self, component: Component) -> list[Step]:
        """Kaldi's training masks without making up for it, so its decoding scales."""
        dim, kept = (
            int(self._nodes.number(component, "Dim", 0)),
            1 - self._nodes.number(component, "DropoutProportion", 0),
        )
        return [Diagonal(np.full(dim, kept), np.zeros(dim))] if kept != 1 else []

    def _pnorm(self, component: Component) -> Pnorm:
        inputs, outputs = (int(self._nodes.number(component, field, 0)) for field in ("InputDim", "OutputDim"))
        if not 0 < outputs <= inputs or inputs % outputs:
            self._nodes.fail(f"component {component.name!r}: p-norm from {inputs} to {outputs} numbers")
        return Pnorm(inputs, outputs)

    def _batch_norm(self, component: Component) -> Diagonal:
        mean = self._nodes.array(component, "StatsMean", 1).astype(np.float64)
        variance = self._nodes.array(component, "StatsVar", 1).astype(np.float64)
        dim = int(self._nodes.number(component, "Dim", 0))
        if len(mean) != len(variance) or dim % len(mean) or not self._nodes.number(component, "Count", 0.0):
            self._nodes.fail(f"component {component.name!r}: batch normalisation without statistics")
        spread = np.maximum(variance, 0.0) + self._nodes.number(component, "Epsilon", 1e-3)
        scale = self._nodes.number(component, "TargetRms", 1.0) / np.sqrt(spread)
        times = dim // len(mean)  # statistics of a block are those of all blocks
        return Diagonal(np.tile(scale, times), np.tile(-mean * scale, times))
