"""Random initial parameters."""

import math

import torch
from torch import Tensor

from unisono.config.network import Drawn
from unisono.core import flat
from unisono.core.flat import Layout


def random_parameters(layout: Layout, options: Drawn, generator: torch.Generator) -> Tensor:
    """Return parameters [P], float32: weights N(0, gain² / inputs), biases and vectors 0 or as `options` has them.

    The gain is that of the layout's entry unless `options` says another; the output has its own, and biases of 0.
    Numbers are drawn matrix by matrix from `generator` alone, so they depend on its seed and the shapes only.
    """
    parameters = flat.zeros(layout.size)
    for entry, matrix in zip(layout.entries, flat.views(layout, parameters).values(), strict=True):
        rows, inputs = entry.shape[0], entry.shape[1] - entry.bias
        if entry.gradient == "rows":
            if options.bias_stddev > 0.0:
                matrix.copy_(torch.randn(matrix.shape, generator=generator).mul_(options.bias_stddev))
            continue
        gain = entry.gain if options.hidden_gain is None else options.hidden_gain
        gain = options.output_gain if entry.is_output else gain
        matrix[:, :inputs] = torch.randn(rows, inputs, generator=generator).mul_(gain / math.sqrt(inputs))
        if not entry.bias or entry.is_output:
            continue
        biases = matrix[:, -1]
        if options.hidden_bias is not None:
            spread = torch.rand(rows, generator=generator).sub_(0.5).mul_(options.hidden_bias.range)
            biases.copy_(spread.add_(options.hidden_bias.mean))
        if options.bias_stddev > 0.0:
            biases.copy_(torch.randn(rows, generator=generator).mul_(options.bias_stddev))
        for part, added in zip(biases.chunk(entry.blocks), entry.added, strict=False):
            part.add_(added)
    return parameters
