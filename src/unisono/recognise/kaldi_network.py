"""A feed-forward network of Kaldi as a model of ours: affine steps folded into the layers, in float64.

Our network is h_0 = spliced frames, h_n = f(W_n h_(n-1) + b_n), softmax(W h + b), with one nonlinearity f, which may be
a p-norm with normalisation. Whatever is affine between two nonlinearities is one matrix and one bias; a root mean
square r of a renormalisation other than 1 is a factor of the next layer. A layer that needs no folding keeps its
numbers to the bit.
"""

from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from unisono.core import flat
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Pnorm, RecurrentStack, Renorm, Stack, Step
from unisono.errors import UserError
from unisono.nn.model_file import Model, network_of

Taken = Stack | RecurrentStack


class _Layer(NamedTuple):
    weight: NDArray  # [outputs, inputs]
    bias: NDArray  # [outputs]


def model_of(stack: Stack, priors: NDArray | None = None) -> Model:
    """Return the model with the network's outputs, log p(pdf | frame), to rounding.

    `priors` [pdfs], probabilities or counts, take the place of the file's; without any the model has no log_prior and
    can be trained on, but not decoded with. Raises UserError naming what our networks cannot do.
    """
    layers, units = _layers(stack)
    left, right = max(0, -min(stack.offsets)), max(0, max(stack.offsets))
    layers[0] = _Layer(spread(stack, layers[0].weight, left, right), layers[0].bias)
    spec = {
        **units.keys(),
        "feature_dim": stack.input_dim,
        "num_pdfs": len(layers[-1].bias),
        "hidden": [len(layer.bias) // units.group for layer in layers[:-1]],
        "context": [left, right],
    }
    network = network_of(spec)
    tensors = {}
    for name, layer in zip(network.layout.names, layers, strict=True):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (float32(stack, part) for part in layer)
    given = stack.priors if priors is None else priors
    return Model(
        spec,
        network.layout,
        flat.from_tensors(network.layout, tensors),
        log_prior_of(stack, given, len(layers[-1].bias)),
    )


class _Units(NamedTuple):
    """The nonlinearity of a layer; `group`: affine outputs that each unit is the p-norm of."""

    kind: str
    group: int = 1
    renormed: bool = False

    def keys(self) -> dict[str, Any]:
        """Return what it is in the section `network`."""
        if self.kind == "p-norm":
            return {"kind": "pnorm", "group": self.group}
        return {"kind": "dnn", "nonlinearity": f"{self.kind}_renorm" if self.renormed else self.kind}

    def __str__(self) -> str:
        """Return its name for messages."""
        group = f" of groups of {self.group}" if self.kind == "p-norm" else ""
        return f"{self.kind}{group}{' with renormalisation' if self.renormed else ''}"


def _layers(stack: Stack) -> tuple[list[_Layer], _Units]:
    """Gather the steps into layers; return them with the nonlinearity that all hidden ones have."""
    layers: list[_Layer] = []
    kinds: list[_Units] = []
    current: _Layer | None = None  # what is affine since the last nonlinearity
    width = stack.input_dim * len(stack.offsets)
    for step in stack.steps:
        if isinstance(step, Activation | Pnorm):
            units = _units(stack, step, current)
            assert current is not None  # `_units` refuses that
            layers.append(current)
            kinds.append(units)
            current, width = None, len(current.bias) // units.group
        elif isinstance(step, Renorm):
            if current is not None or not kinds or kinds[-1].kind not in ("relu", "p-norm") or kinds[-1].renormed:
                fail(stack, "a renormalisation that follows no ReLU and no p-norm")
            kinds[-1] = kinds[-1]._replace(renormed=True)
            if step.target_rms != 1.0:
                current = _then(stack, None, Diagonal(np.full(width, step.target_rms), np.zeros(width)), width)
        else:
            current = _then(stack, current, step, width)
        width = len(current.bias) if current is not None else width
    if current is None or not layers:
        fail(stack, "a network without a hidden layer, or without an affine layer before its softmax")
    if len(set(kinds)) != 1:
        fail(stack, f"hidden layers of {', '.join(map(str, dict.fromkeys(kinds)))}: ours are all of one kind")
    if kinds[0].kind == "p-norm" and not kinds[0].renormed:
        fail(stack, "p-norm without renormalisation: ours have it after each layer")
    return [*layers, current], kinds[0]


def _units(stack: Stack, step: Activation | Pnorm, current: _Layer | None) -> _Units:
    kind = step.kind if isinstance(step, Activation) else "p-norm"
    if current is None:
        fail(stack, f"a {kind} without an affine layer before it")
    if isinstance(step, Activation):
        return _Units(kind)
    if step.inputs != len(current.bias):
        fail(stack, f"a p-norm takes {step.inputs} numbers, the step before it gives {len(current.bias)}")
    return _Units(kind, step.inputs // step.outputs)


def _then(stack: Stack, before: _Layer | None, step: Step, width: int) -> _Layer:
    """Return what is affine in `before`, followed by one more step."""
    assert isinstance(step, Affine | Diagonal)
    taken = step.weight.shape[1] if isinstance(step, Affine) else len(step.scale)
    if taken != width:
        fail(stack, f"a step takes {taken} numbers, the one before it gives {width}")
    if isinstance(step, Affine):
        if before is None:
            return _Layer(step.weight, step.bias)
        weight = step.weight.astype(np.float64)
        return _Layer(weight @ before.weight, weight @ before.bias + step.bias)
    scale, shift = step.scale.astype(np.float64), step.shift.astype(np.float64)
    if before is None:
        return _Layer(np.diag(scale), shift)
    return _Layer(scale[:, None] * before.weight, scale * before.bias + shift)


def spread(stack: Taken, weight: NDArray, left: int, right: int) -> NDArray:
    """Let the first layer take all frames from -left to right: those that are not spliced have weights of zero.

    Columns behind those of the frames stay.
    """
    every = tuple(range(-left, right + 1))
    if stack.offsets == every:
        return weight
    dim, taken = stack.input_dim, stack.input_dim * len(stack.offsets)
    wide = np.zeros((len(weight), len(every) * dim))
    for place, offset in enumerate(stack.offsets):
        begin = (offset + left) * dim
        wide[:, begin : begin + dim] += weight[:, place * dim : (place + 1) * dim]
    return np.concatenate([wide, weight[:, taken:]], axis=1)


def float32(stack: Taken, values: NDArray) -> torch.Tensor:
    """Return numbers in single precision. Raises UserError where one is beyond it."""
    with np.errstate(over="ignore"):
        narrow = np.array(values, np.float32)
    if not np.isfinite(narrow).all():
        fail(stack, "weights beyond float32 after folding")
    return torch.from_numpy(narrow)


def log_prior_of(stack: Taken, priors: NDArray | None, pdfs: int) -> torch.Tensor | None:
    """Return log p(pdf) from probabilities or counts. Raises UserError where they are not of this network."""
    if priors is None:
        return None
    if len(priors) != pdfs or not (priors > 0).all():
        fail(stack, f"{len(priors)} priors or counts for {pdfs} pdfs, or some of them not positive")
    wide = np.asarray(priors, np.float64)
    # Probabilities are taken as they are, as Kaldi does; counts are made some.
    total = wide.sum()
    return torch.from_numpy(np.log(wide if abs(total - 1.0) < 1e-3 else wide / total).astype(np.float32))


def fail(stack: Taken, reason: str) -> NoReturn:
    """Raise UserError naming the network's file."""
    raise UserError(f"{stack.where}: {reason}: see docs/kaldi.md for the networks that are read")
