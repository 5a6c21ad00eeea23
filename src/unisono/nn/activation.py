"""Nonlinearities and dropout of hidden layers, in place on buffers of a layer's outputs [N, width]."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Nonlinearity = Literal["sigmoid", "tanh", "relu"]


def _relu_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.threshold_backward(derivative, output, 0.0, grad_input=derivative)


def _sigmoid_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.sigmoid_backward(derivative, output, grad_input=derivative)


def _tanh_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.tanh_backward(derivative, output, grad_input=derivative)


_FORWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}
_BACKWARD: dict[str, Callable[[Tensor, Tensor], None]] = {
    "relu": _relu_backward_,
    "sigmoid": _sigmoid_backward_,
    "tanh": _tanh_backward_,
}


def forward_(kind: Nonlinearity, values: Tensor) -> None:
    """Overwrite affine outputs by f(values)."""
    _FORWARD[kind](values)


def backward_(kind: Nonlinearity, derivative: Tensor, output: Tensor) -> None:
    """Overwrite the derivative at f's output by that at its input, from `output` = f(input)."""
    _BACKWARD[kind](derivative, output)


def dropout_mask_(mask: Tensor, probability: float, generator: torch.Generator) -> None:
    """Fill `mask` with 0 (at `probability`) and 1/(1 - probability): inverted dropout keeps the mean."""
    mask.bernoulli_(1.0 - probability, generator=generator).mul_(1.0 / (1.0 - probability))
