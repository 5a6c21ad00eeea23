"""From a stack of RBMs to the network that it pretrains: W and b of each become a layer, visible biases are dropped."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError

_OUTPUT_GAIN = 3.5  # Kaldi's nnet1


def joined(layout: Layout, layers: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return parameters [P] of a network with these hidden layers [W b] and a random output layer.

    Output weights ~ Normal(0, (3.5 sqrt(2 / (in + out)))^2), biases 0 (docs/mathematics.md 6.5). Raises UserError where
    the layers do not chain to the network.
    """
    params = flat.zeros(layout.size)
    *hidden, output = flat.views(layout, params).items()
    if len(layers) != len(hidden):
        raise UserError(f"stack of RBMs: {len(layers)} layers, the network has {len(hidden)}: pretrain it anew")
    for (name, matrix), layer in zip(hidden, layers, strict=True):
        if matrix.shape != layer.shape:
            raise UserError(
                f"stack of RBMs: {name} is {layer.shape[1] - 1} to {layer.shape[0]} units, the network has"
                f" {matrix.shape[1] - 1} to {matrix.shape[0]}: the layers do not chain: pretrain them anew"
            )
        matrix.copy_(layer)
    outputs, inputs = output[1].shape[0], output[1].shape[1] - 1
    drawn = torch.randn(outputs, inputs, generator=generator)
    output[1][:, :-1] = drawn.mul_(_OUTPUT_GAIN * math.sqrt(2.0 / (inputs + outputs)))
    return params
