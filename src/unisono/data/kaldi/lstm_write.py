"""LSTM networks written as nnet3: the nodes and components of Kaldi's fast-lstm-layer and fast-lstmp-layer."""

import numpy as np

from unisono.data.kaldi.model_write import affine_component, appended, frames_of, log_softmax
from unisono.data.kaldi.nnet3 import Component, Field, Nnet3, network_bytes
from unisono.data.kaldi.nnet3_lstm import GATES, NONLINEARITY
from unisono.data.kaldi.stack import Affine, Cell, RecurrentStack

# Kaldi's own settings, which only further training by Kaldi reads: self-repair of the gates, truncation.
_REPAIR = np.array([0.05, 0.05, 0.2, 0.05, 0.2, *(5 * [1e-5])], np.float32)
_CLIP, _ZERO, _INTERVAL = 30.0, 15.0, 20
_RATE, _MAX_CHANGE = 0.001, 0.75


def lstm_bytes(stack: RecurrentStack) -> bytes:
    """Return the binary form from `<Nnet3>` to `</Nnet3>` of a network, without transition model and priors."""
    nodes = [f"input-node name=input dim={stack.input_dim}"]
    components: list[Component] = []
    below = frames_of(stack.offsets)
    for number, cell in enumerate(stack.cells, 1):
        own, lines, top = _layer(f"l{number}", cell, below)
        components += own
        nodes += lines
        below = [top]
    components += [affine_component("output.affine", *_narrow(stack.output)), log_softmax(len(stack.output.bias))]
    for name, taken in (("output.affine", below[0]), ("output.log-softmax", "output.affine")):
        nodes.append(f"component-node name={name} component={name} input={taken}")
    end = f"Offset(output.log-softmax, {stack.delay})" if stack.delay else "output.log-softmax"
    nodes.append(f"output-node name=output input={end} objective=linear")
    return network_bytes(Nnet3(tuple(nodes), tuple(components)))


def _layer(name: str, cell: Cell, below: list[str]) -> tuple[list[Component], list[str], str]:
    """Return components and node lines of a layer, and the node that it ends in."""
    size = cell.peepholes.shape[1]
    order = np.concatenate([np.arange(size) + size * place for place in np.argsort(GATES)])
    weight, bias = _narrow(cell.gates)
    trunc, unit, gates, rp = (f"{name}.{part}" for part in ("trunc", "lstm_nonlin", "W_all", "W_rp"))
    components = [
        affine_component(gates, np.ascontiguousarray(weight[order]), bias[order]),
        _nonlinearity(unit, cell),
        _truncation(trunc, size + cell.recurrent),
    ]
    lines = [
        _node(gates, appended([*below, f"IfDefined(Offset({name}.r_trunc, -1))"])),
        _node(unit, f"Append({gates}, IfDefined(Offset({name}.c_trunc, -1)))"),
        _range(f"{name}.c", unit, 0, size),
        _range(f"{name}.m", unit, size, size),
    ]
    top = back = f"{name}.m"
    if cell.projection is not None:
        components.append(affine_component(rp, *_narrow(cell.projection)))
        top, back = rp, f"{name}.r"
        lines += [_node(rp, f"{name}.m"), _range(back, rp, 0, cell.recurrent)]
    lines += [
        _node(trunc, f"Append({name}.c, {back})"),
        _range(f"{name}.c_trunc", trunc, 0, size),
        _range(f"{name}.r_trunc", trunc, size, cell.recurrent),
    ]
    return components, lines, top


def _node(name: str, taken: str) -> str:
    return f"component-node name={name} component={name} input={taken}"


def _range(name: str, node: str, begin: int, size: int) -> str:
    return f"dim-range-node name={name} input-node={node} dim-offset={begin} dim={size}"


def _narrow(layer: Affine) -> Affine:
    return Affine(np.asarray(layer.weight, np.float32), np.asarray(layer.bias, np.float32))


def _nonlinearity(name: str, cell: Cell) -> Component:
    size = cell.peepholes.shape[1]
    unseen = np.zeros((5, size), np.float32)
    fields = (
        Field("MaxChange", _MAX_CHANGE),
        Field("LearningRate", _RATE),
        Field("Params", np.asarray(cell.peepholes, np.float32)),
        Field("ValueAvg", unseen),
        Field("DerivAvg", unseen),
        Field("SelfRepairConfig", _REPAIR),
        Field("SelfRepairProb", np.zeros(5, np.float32)),
        Field("Count", 0.0, wide=True),
    )
    return Component(name, NONLINEARITY, fields)


def _truncation(name: str, dim: int) -> Component:
    fields = (
        Field("Dim", dim),
        Field("Scale", 1.0),
        Field("ClippingThreshold", _CLIP),
        Field("ZeroingThreshold", _ZERO),
        Field("ZeroingInterval", _INTERVAL),
        Field("RecurrenceInterval", 1),
        Field("NumElementsClipped", 0.0, wide=True),
        Field("NumElementsZeroed", 0.0, wide=True),
        Field("NumElementsProcessed", 0.0, wide=True),
        Field("NumZeroingBoundaries", 0.0, wide=True),
    )
    return Component(name, "BackpropTruncationComponent", fields)
