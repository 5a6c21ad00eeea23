"""Nonlinearities and dropout of hidden layers, in place on preallocated buffers, one row per frame.

`relu_renorm` is Kaldi's relu-renorm-layer: r = max(a, 0), y = r s with s = 1 / sqrt(mean r²), the mean over the outputs
of one frame, so that each frame goes up with a root mean square of 1 (NormalizeComponent, target-rms 1). Since then
mean y² = 1, the derivative is dr = s (dy - y mean(y dy)). A frame without outputs stays zero, its derivative, too.

`pnorm` is Kaldi's p-norm with p = 2 and the same normalisation: r_j = sqrt(sum a²) over group j of neighbouring affine
outputs, y = r s. da = a / r dr, and 0 where r = 0. At the floor of mean r² s is a constant, and dr = s dy.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Nonlinearity = Literal["sigmoid", "tanh", "relu", "relu_renorm"]
Kind = Nonlinearity | Literal["pnorm"]

SQUARE_FLOOR = 2.0**-66  # of mean r²; Kaldi's
_FLOOR_SCALE = 2.0**33 * (1.0 - 2.0**-20)  # 1 / sqrt(SQUARE_FLOOR), less what a GPU's rsqrt may be off


def _relu_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.threshold_backward(derivative, output, 0.0, grad_input=derivative)


def _sigmoid_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.sigmoid_backward(derivative, output, grad_input=derivative)


def _tanh_backward_(derivative: Tensor, output: Tensor) -> None:
    torch.ops.aten.tanh_backward(derivative, output, grad_input=derivative)


# Sigmoid: the constant of Kaldi's nnet1 prototypes; its slope of 1/4 wants large weights.
_GAINS = {"relu": math.sqrt(2.0), "relu_renorm": 1.0, "tanh": 1.0, "sigmoid": 3.5}
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


def gain(kind: Kind, inputs: int, outputs: int) -> float:
    """Return the standard deviation of an affine layer's initial weights times the root of its inputs.

    That of p-norm divides by the affine outputs, not by the inputs (Povey et al. 2014; docs/mathematics.md 4.3).
    """
    return math.sqrt(inputs / outputs) if kind == "pnorm" else _GAINS[kind]


def forward_(kind: Kind, values: Tensor, outputs: Tensor, scales: Tensor) -> None:
    """Write f(values) into `outputs` [N, width], for affine outputs `values` [N, rows].

    `outputs` is `values` itself but for `pnorm`, whose groups are of rows / width. Where there is an s it goes into
    `scales` [N, 1].
    """
    if kind == "pnorm":
        torch.linalg.vector_norm(_grouped(values, outputs), dim=2, out=outputs)
    else:
        _FORWARD[kind](values)
    if kind in ("relu_renorm", "pnorm"):
        torch.linalg.vector_norm(outputs, dim=1, keepdim=True, out=scales)
        scales.square_().div_(outputs.shape[1]).clamp_(min=SQUARE_FLOOR).rsqrt_()
        outputs.mul_(scales)


def backward_(kind: Kind, derivative: Tensor, output: Tensor, scales: Tensor, slopes: Tensor) -> None:
    """Turn the derivative at f's output into that at its input, from `output` = f(input) and what `forward_` left.

    slopes: where the result goes; `derivative` itself but for `pnorm`, for which it is the buffer of f's input, still
    filled, and `derivative` is used up.
    """
    if kind == "relu_renorm":
        along = torch.linalg.vecdot(derivative, output)[:, None].div_(output.shape[1])
        derivative.addcmul_(output, along, value=-1.0).mul_(scales)
    if kind == "pnorm":
        _pnorm_backward_(derivative, output, scales, slopes)
    else:
        _BACKWARD[kind](derivative, output)


def _pnorm_backward_(derivative: Tensor, output: Tensor, scales: Tensor, slopes: Tensor) -> None:
    along = torch.linalg.vecdot(derivative, output)[:, None].div_(output.shape[1])
    along.masked_fill_(scales >= _FLOOR_SCALE, 0.0)
    # dr / r with r = y / s
    derivative.addcmul_(output, along, value=-1.0).mul_(scales).mul_(scales).div_(output)
    derivative.masked_fill_(output == 0.0, 0.0)
    _grouped(slopes, derivative).mul_(derivative[:, :, None])


def _grouped(values: Tensor, outputs: Tensor) -> Tensor:
    """Return `values` as [N, width, group], without a copy."""
    return values.unflatten(1, (outputs.shape[1], -1))


def pnorm(values: Tensor, group: int) -> Tensor:
    """Return y [..., rows / group] for affine outputs [..., rows]; differentiable."""
    norms = torch.linalg.vector_norm(values.unflatten(-1, (-1, group)), dim=-1)
    return norms * norms.square().mean(-1, keepdim=True).clamp(min=SQUARE_FLOOR).rsqrt()


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
