"""Random initial parameters."""

import math

import torch
from torch import Tensor

from unisono.config.network import RandomStart
from unisono.core import flat
from unisono.core.flat import Layout

# Sigmoid: the constant of Kaldi's nnet1 prototypes; its slope of 1/4 wants large weights.
_GAINS = {"relu": math.sqrt(2.0), "relu_renorm": 1.0, "tanh": 1.0, "sigmoid": 3.5}


def random_parameters(layout: Layout, nonlinearity: str, options: RandomStart, generator: torch.Generator) -> Tensor:
    """Return a flat vector [P]: the last matrix of `layout` is the output layer, the others are hidden.

    Numbers are drawn matrix by matrix from `generator` alone, so they depend on its seed and the shapes only.
    """
    hidden_gain = _GAINS[nonlinearity] if options.hidden_gain is None else options.hidden_gain
    parameters = flat.zeros(layout.size)
    for name, matrix in flat.views(layout, parameters).items():
        gain = options.output_gain if name == layout.names[-1] else hidden_gain
        rows, inputs = matrix.shape[0], matrix.shape[1] - 1
        drawn = torch.randn(rows, inputs, generator=generator)
        matrix[:, :-1] = drawn.mul_(gain / math.sqrt(inputs))
    return parameters
