"""Stacks of RBMs: each layer for the RBM above it, and the network that they pretrain, without visible biases."""

import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError
from unisono.nn.ends import BELOW
from unisono.nn.model_file import load_model

_OUTPUT_GAIN = 3.5  # Kaldi's nnet1


def layer_below(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return [W b] of an RBM's model file by its name among the constants of an RBM above it.

    Raises UserError where it is no RBM's.
    """
    model = load_model(path)
    if model.network["kind"] != "rbm":
        raise UserError(f"{path}: no RBM: give the models of the layers below, the lowest first")
    return {f"{BELOW}{len(model.network['widths'])}": flat.views(model.layout, model.flat)["hidden"].contiguous()}


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
