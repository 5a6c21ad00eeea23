"""The products of few rows with one large matrix that a recurrence makes again and again.

The library for matrix products packs the matrix anew each time, which costs as much as the product of some rows. Where
oneDNN is there, the matrix is packed once a minibatch instead; elsewhere the product is made in blocks of columns.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 400  # columns that are made at a time
_FEW_ROWS = 256  # with more, packing does not matter
_SMALLEST = 1 << 18  # numbers of a matrix that is worth it
_OPERATIONS = torch.ops.mkldnn
IS_THERE = hasattr(_OPERATIONS, "_reorder_linear_weight") and hasattr(_OPERATIONS, "_linear_pointwise")

Add = Callable[[Tensor, Tensor], object]
Multiply = Callable[[Tensor], Tensor]


def products(weight: Tensor, bias: Tensor, rows: int) -> tuple[Add, Multiply]:
    """Return two products for the weights [out, in] and biases [out] as they are now, of `rows` rows each.

    add(x, y) adds x weight^T + bias to y [rows, out] in place; multiply(y) returns y weight [rows, in], a new tensor.
    """
    if rows <= _FEW_ROWS and weight.numel() >= _SMALLEST and _packs(weight):
        forward, backward = _pack(weight, bias.contiguous(), rows), _pack(weight.t(), None, rows)
        return lambda x, y: y.add_(forward(x)), backward
    if rows <= _FEW_ROWS and weight.device.type == "cpu":
        return lambda x, y: _add_in_blocks_(x, y, weight, bias), lambda y: torch.mm(y, weight)
    return lambda x, y: y.add_(bias).addmm_(x, weight.t()), lambda y: torch.mm(y, weight)


def _packs(weight: Tensor) -> bool:
    fits = weight.device.type == "cpu" and weight.dtype == torch.float32
    return IS_THERE and fits and torch.backends.mkldnn.is_available()


def _pack(weight: Tensor, bias: Tensor | None, rows: int) -> Multiply:
    own = _OPERATIONS._reorder_linear_weight(weight.contiguous(), rows)
    return lambda x: _OPERATIONS._linear_pointwise(x.contiguous(), own, bias, "none", [], "")


def _add_in_blocks_(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> None:
    y.add_(bias)
    for out, part in zip(y.split(_BLOCK, dim=1), weight.split(_BLOCK), strict=True):
        out.addmm_(x, part.t())
