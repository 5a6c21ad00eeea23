"""Random initial parameters."""

import math

import torch
from torch import Tensor

from unisono.config.network import Drawn
from unisono.core import flat
from unisono.core.flat import Layout

# Sigmoid: the constant of Kaldi's nnet1 prototypes; its slope of 1/4 wants large weights.
# p-norm: that of Povey 2014, who divides by the affine outputs, not by the inputs (docs/mathematics.md 4.3).
_GAINS = {"relu": math.sqrt(2.0), "relu_renorm": 1.0, "tanh": 1.0, "sigmoid": 3.5}


def random_parameters(layout: Layout, nonlinearity: str, options: Drawn, generator: torch.Generator) -> Tensor:
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
        if options.hidden_bias is not None and name != layout.names[-1]:
            spread = torch.rand(rows, generator=generator).sub_(0.5).mul_(options.hidden_bias.range)
            matrix[:, -1] = spread.add_(options.hidden_bias.mean)
        if options.bias_stddev > 0.0 and name != layout.names[-1]:
            matrix[:, -1] = torch.randn(rows, generator=generator).mul_(options.bias_stddev)
    return parameters
