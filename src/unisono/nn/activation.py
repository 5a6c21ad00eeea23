"""Nonlinearities and dropout of hidden layers, in place on buffers of a layer's outputs [N, width].

`relu_renorm` is Kaldi's relu-renorm-layer: r = max(a, 0), y = r s with s = 1 / sqrt(mean r²), the mean over the outputs
of one frame, so that each frame goes up with a root mean square of 1 (NormalizeComponent, target-rms 1). Since then
mean y² = 1, the derivative is dr = s (dy - y mean(y dy)). A frame without outputs stays zero, its derivative, too.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Nonlinearity = Literal["sigmoid", "tanh", "relu", "relu_renorm"]

SQUARE_FLOOR = 2.0**-66  # of mean r²; Kaldi's


def _relu_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.threshold_backward(derivative, output, 0.0, grad_input=derivative)


def _sigmoid_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.sigmoid_backward(derivative, output, grad_input=derivative)


def _tanh_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.tanh_backward(derivative, output, grad_input=derivative)


_FORWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "relu_renorm": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}
_BACKWARD: dict[str, Callable[[Tensor, Tensor], None]] = {
    "relu": _relu_backward_,
    "relu_renorm": _relu_backward_,
    "sigmoid": _sigmoid_backward_,
    "tanh": _tanh_backward_,
}


def forward_(kind: Nonlinearity, values: Tensor, scales: Tensor) -> None:
    """Overwrite affine outputs by f(values); `relu_renorm` leaves its s in `scales` [N, 1]."""
    _FORWARD[kind](values)
    if kind == "relu_renorm":
        torch.linalg.vector_norm(values, dim=1, keepdim=True, out=scales)
        scales.square_().div_(values.shape[1]).clamp_(min=SQUARE_FLOOR).rsqrt_()
        values.mul_(scales)


def backward_(kind: Nonlinearity, derivative: Tensor, output: Tensor, scales: Tensor) -> None:
    """Overwrite the derivative at f's output by that at its input, from `output` = f(input) and what it left."""
    if kind == "relu_renorm":
        along = torch.linalg.vecdot(derivative, output)[:, None].div_(output.shape[1])
        derivative.addcmul_(output, along, value=-1.0).mul_(scales)
    _BACKWARD[kind](derivative, output)


def relu_renorm(values: Tensor) -> Tensor:
    """Return y for affine outputs [..., width]; differentiable."""
    rectified = torch.relu(values)
    return rectified * rectified.square().mean(-1, keepdim=True).clamp(min=SQUARE_FLOOR).rsqrt()


def dropout_mask_(mask: Tensor, draws: Tensor, probability: float, generator: torch.Generator) -> None:
    """Fill `mask` [N, width] with 0 (at `probability`) and 1/(1 - probability): inverted dropout keeps the mean.

    draws: int64, room for `room_for_draws(N, width)` numbers. On a CPU 16 bits of them decide on each element, which
    takes a sixth of the time of a draw for each; the probability is thus rounded to a multiple of 1/65536.
    """
    if mask.is_cuda:
        mask.bernoulli_(1.0 - probability, generator=generator).mul_(1.0 / (1.0 - probability))
        return
    rows, width = mask.shape
    keep = max(1, round((1.0 - probability) * 65536))
    bits = draws[: room_for_draws(rows, width)].random_(-(2**63), None, generator=generator).view(torch.int16)
    torch.le(bits.view(rows, 4 * -(-width // 4))[:, :width], keep - 1 - 32768, out=mask).mul_(65536 / keep)


def room_for_draws(rows: int, width: int) -> int:
    """Return how many int64 numbers `dropout_mask_` draws for a mask."""
    return rows * -(-width // 4)
