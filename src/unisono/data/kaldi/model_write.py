"""Kaldi's models written in binary, as Kaldi writes them: transition model, mixtures, nnet3 and nnet1 networks.

Every function returns bytes without the leading zero byte and B, which stands once at the beginning of a file.
"""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.nnet3 import Component, Field, Nnet3, array_bytes, integer_bytes, network_bytes
from unisono.data.kaldi.transitions import Topology, Transitions

BINARY = b"\0B"
# Of a natural-gradient component of nnet3: what steps/nnet3 sets; only further training by Kaldi reads it.
_RATE, _MAX_CHANGE, LARGE_CHANGE = 0.001, 0.75, 1.5
_LOG_2PI = float(np.log(2 * np.pi))


def transitions_bytes(transitions: Transitions) -> bytes:
    """Return a transition model with its topology."""
    triples = bool((transitions.tuples[:, 2] == transitions.tuples[:, 3]).all())
    token = "Triples" if triples else "Tuples"
    rows = transitions.tuples[:, : 3 if triples else 4]
    return b"".join(
        [
            b"<TransitionModel> ", _topology_bytes(transitions.topology), f"<{token}> ".encode(),
            integer_bytes(len(rows)), _sized(rows.ravel()), f"</{token}> ".encode(), b"<LogProbs> ",
            array_bytes(np.asarray(transitions.log_probs, np.float32)), b"</LogProbs> </TransitionModel> ",
        ]
    )  # fmt: skip


def _topology_bytes(topology: Topology) -> bytes:
    places = np.full(max(topology.entry_of) + 1, -1, np.int32)
    for phone, place in topology.entry_of.items():
        places[phone] = place
    out = [b"<Topology> ", _block(sorted(topology.entry_of)), _block(places)]
    # A topology that is no plain HMM has two pdf classes a state, which -1 announces.
    two = any(state.forward != state.loop for states in topology.entries for state in states)
    out += [integer_bytes(-1)] * two + [integer_bytes(len(topology.entries))]
    for states in topology.entries:
        out.append(integer_bytes(len(states)))
        for state in states:
            out += [integer_bytes(state.forward)] + [integer_bytes(state.loop)] * two
            out.append(integer_bytes(len(state.moves)))
            for target, probability in state.moves:
                out += [integer_bytes(target), b"\x04" + struct.pack("<f", probability)]
    return b"".join([*out, b"</Topology> "])


def mixtures_bytes(
    weights: NDArray[np.float32], means: NDArray[np.float32], variances: NDArray[np.float32], offsets: NDArray[np.int64]
) -> bytes:
    """Return diagonal mixtures; PDF p has the Gaussians offsets[p]:offsets[p + 1] of [G], [G, D], [G, D]."""
    inverse = 1.0 / variances.astype(np.float64)
    linear, dim = means * inverse, means.shape[1]
    constants = np.log(weights.astype(np.float64)) - 0.5 * (
        dim * _LOG_2PI + np.log(variances.astype(np.float64)).sum(axis=1) + (means * linear).sum(axis=1)
    )
    out = [b"<DIMENSION> ", integer_bytes(dim), b"<NUMPDFS> ", integer_bytes(len(offsets) - 1)]
    for begin, end in zip(offsets[:-1], offsets[1:], strict=True):
        own = slice(int(begin), int(end))
        for token, value in (
            ("DiagGMM> <GCONSTS", constants), ("WEIGHTS", weights), ("MEANS_INVVARS", linear), ("INV_VARS", inverse),
        ):  # fmt: skip
            out.append(f"<{token}> ".encode() + array_bytes(np.asarray(value[own], np.float32)))
        out.append(b"</DiagGMM> ")
    return b"".join(out)


Layers = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]  # weight [outputs, inputs] and bias [outputs]
_NNET3 = {
    "sigmoid": ("sigmoid", "SigmoidComponent"),
    "tanh": ("tanh", "TanhComponent"),
    "relu": ("relu", "RectifiedLinearComponent"),
    "relu_renorm": ("relu", "RectifiedLinearComponent"),
}
_NNET1 = {"sigmoid": "Sigmoid", "tanh": "Tanh"}


def nnet3_bytes(layers: Layers, nonlinearity: str, dim: int, context: tuple[int, int]) -> bytes:
    """Return a feed-forward nnet3 network on frames of `dim` features, with a log-softmax at the end.

    `nonlinearity`: of the dnn's, or `p-norm`, whose layers have more outputs than the next ones have inputs.
    """
    nodes = [f"input-node name=input dim={dim}"]
    components: list[Component] = []
    below = appended(frames_of(range(-context[0], context[1] + 1)))
    for number, (weight, bias) in enumerate(layers, 1):
        last = number == len(layers)
        name = "output" if last else f"l{number}"
        own = [affine_component(f"{name}.affine", weight, bias, LARGE_CHANGE if last else _MAX_CHANGE)]
        if last:
            own.append(log_softmax(len(bias)))
        else:
            own += _units(name, nonlinearity, len(bias), layers[number][0].shape[1])
        for part in own:
            nodes.append(f"component-node name={part.name} component={part.name} input={below}")
            below = part.name
        components += own
    nodes.append(f"output-node name=output input={below} objective=linear")
    return network_bytes(Nnet3(tuple(nodes), tuple(components)))


def _units(name: str, nonlinearity: str, inputs: int, outputs: int) -> list[Component]:
    """Return what stands after an affine component of `inputs` outputs and hands on `outputs` numbers."""
    if nonlinearity == "p-norm":
        sizes = (Field("InputDim", inputs), Field("OutputDim", outputs))
        return [Component(f"{name}.pnorm", "PnormComponent", sizes), _renorm(name, outputs)]
    kind, component = _NNET3[nonlinearity]
    own = [Component(f"{name}.{kind}", component, (*statistics(outputs), Field("SelfRepairScale", 1e-5)))]
    return [*own, _renorm(name, outputs)] if nonlinearity == "relu_renorm" else own


def _renorm(name: str, dim: int) -> Component:
    fields = (Field("InputDim", dim), Field("TargetRms", 1.0), Field("AddLogStddev", False))
    return Component(f"{name}.renorm", "NormalizeComponent", fields)


def frames_of(offsets: Iterable[int]) -> list[str]:
    """Return frames of the input as Kaldi's descriptors."""
    return ["input" if offset == 0 else f"Offset(input, {offset})" for offset in offsets]


def appended(parts: Sequence[str]) -> str:
    """Return what a node takes that takes all of these."""
    return f"Append({', '.join(parts)})" if len(parts) > 1 else parts[0]


def nnet3_model_bytes(transitions: Transitions, network: bytes, context: tuple[int, int], priors: NDArray) -> bytes:
    """Return `final.mdl` of nnet3; `priors` are probabilities."""
    left, right = map(integer_bytes, context)
    return b"".join(
        [
            transitions_bytes(transitions), network, b"<LeftContext> ", left, b"<RightContext> ", right, b"<Priors> ",
            array_bytes(np.asarray(priors, np.float32)),
        ]
    )  # fmt: skip


def nnet1_bytes(layers: Layers, nonlinearity: str, dim: int, context: tuple[int, int]) -> bytes:
    """Return a feed-forward nnet1 network on frames of `dim` features, with a softmax at the end."""
    offsets = range(-context[0], context[1] + 1)
    out = [b"<Nnet> ", b"<Splice> ", integer_bytes(dim * len(offsets)), integer_bytes(dim), _block(offsets)]
    one, none = (b"\x04" + struct.pack("<f", value) for value in (1.0, 0.0))
    settings = b"<LearnRateCoef> " + one + b"<BiasLearnRateCoef> " + one + b"<MaxNorm> " + none
    for number, (weight, bias) in enumerate(layers, 1):
        sizes = integer_bytes(len(bias))
        out += [_END, b"<AffineTransform> ", sizes, integer_bytes(weight.shape[1]), settings]
        kind = _NNET1[nonlinearity] if number < len(layers) else "Softmax"
        out += [array_bytes(weight), array_bytes(bias), _END, f"<{kind}> ".encode(), sizes, sizes]
    return b"".join([*out, _END, b"</Nnet> "])


_END = b"<!EndOfComponent> "


def nnet1_nonlinearities() -> tuple[str, ...]:
    """Return the nonlinearities that nnet1 has."""
    return tuple(_NNET1)


def affine_component(
    name: str, weight: NDArray[np.float32], bias: NDArray[np.float32], max_change: float = LARGE_CHANGE
) -> Component:
    """Return a natural-gradient affine component with Kaldi's own settings."""
    outputs, inputs = weight.shape
    fields = (
        Field("MaxChange", max_change),
        Field("LearningRate", _RATE),
        Field("LinearParams", weight),
        Field("BiasParams", bias),
        Field("RankIn", min(20, (inputs + 1) // 2)),
        Field("RankOut", min(80, (outputs + 1) // 2)),
        Field("UpdatePeriod", 4),
        Field("NumSamplesHistory", 2000.0),
        Field("Alpha", 4.0),
    )
    return Component(name, "NaturalGradientAffineComponent", fields)


def log_softmax(dim: int) -> Component:
    """Return the component that ends a network."""
    return Component("output.log-softmax", "LogSoftmaxComponent", statistics(dim))


def statistics(dim: int) -> tuple[Field, ...]:
    """Return the fields of an elementwise component that has seen nothing yet."""
    empty = np.zeros(0, np.float32)
    return (
        Field("Dim", dim),
        Field("ValueAvg", empty),
        Field("DerivAvg", empty),
        Field("Count", 0.0, wide=True),
        Field("OderivRms", empty),
        Field("OderivCount", 0.0, wide=True),
        Field("NumDimsSelfRepaired", 0.0, wide=True),
        Field("NumDimsProcessed", 0.0, wide=True),
    )


def _block(values: Sequence[int] | NDArray[np.int32] | range) -> bytes:
    return integer_bytes(len(values)) + np.asarray(values, "<i4").tobytes()


def _sized(values: NDArray[np.int32]) -> bytes:
    """Return whole numbers each with its size."""
    elements = np.zeros(len(values), np.dtype([("size", "u1"), ("value", "<i4")]))
    elements["size"], elements["value"] = 4, values
    return elements.tobytes()
