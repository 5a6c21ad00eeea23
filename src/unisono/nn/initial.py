"""Random initial parameters."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError

# Sigmoid: the constant of Kaldi's nnet1 prototypes; its slope of 1/4 wants large weights.
# p-norm: that of Povey 2014, who divides by the affine outputs, not by the inputs (docs/mathematics.md 4.3).
_GAINS = {"relu": math.sqrt(2.0), "relu_renorm": 1.0, "tanh": 1.0, "sigmoid": 3.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialisationOptions:
    """The section `initialisation`.

    kind: `random`, or `model`: start from the file `path`.
    hidden_gain: hidden weights are N(0, hidden_gain^2 / inputs), biases 0; null takes sqrt 2 for relu, 3.5 for sigmoid,
        1 for relu_renorm and tanh, and N(0, 1 / outputs) for p-norm.
    output_gain: the same for the output layer; 0 starts it at zero, as Kaldi does.
    """

    kind: Literal["random", "model"]
    path: str | None
    hidden_gain: float | None
    output_gain: float

    def __post_init__(self) -> None:
        if self.kind == "model" and not self.path:
            raise UserError("initialisation.path: missing: name the .safetensors file to start from")
        for key, gain in (("hidden_gain", self.hidden_gain), ("output_gain", self.output_gain)):
            if gain is not None and not 0.0 <= gain < math.inf:
                raise UserError(f"initialisation.{key}: {gain}: give a number from 0 on")


def random_parameters(
    layout: Layout, nonlinearity: str, options: InitialisationOptions, generator: torch.Generator
) -> Tensor:
    """Return a flat vector [P]: the last matrix of `layout` is the output layer, the others are hidden.

    Numbers are drawn matrix by matrix from `generator` alone, so they depend on its seed and the shapes only.
    """
    parameters = flat.zeros(layout.size)
    for name, matrix in flat.views(layout, parameters).items():
        rows, inputs = matrix.shape[0], matrix.shape[1] - 1
        if name == layout.names[-1]:
            gain = options.output_gain
        elif options.hidden_gain is not None:
            gain = options.hidden_gain
        else:
            gain = math.sqrt(inputs / rows) if nonlinearity == "pnorm" else _GAINS[nonlinearity]
        drawn = torch.randn(rows, inputs, generator=generator)
        matrix[:, :-1] = drawn.mul_(gain / math.sqrt(inputs))
    return parameters
