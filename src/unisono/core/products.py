"""The matrix products of a training step, in the precision that the config names (`resources.precision`).

`float32` and `tf32` are products as the library makes them; for `tf32` CUDA is told that its tensor cores may round
float32 factors to 10 bits of fraction (`allow_tf32`), which no CPU does. `bf16`: both factors are rounded to bfloat16
(7 bits of fraction) and multiplied with sums in float32. In each, weights, gradients, momentum and the statistics of
natural gradient stay float32: rounded is only what enters a product.
"""

from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "tf32", "bf16"]


def allow_tf32(precision: Precision) -> None:
    """Tell CUDA whether the float32 products of this process may be TF32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def product(a: Tensor, b: Tensor, out: Tensor, precision: Precision) -> None:
    """Write a b into `out` [N, M]; a: [N, K], b: [K, M], float32."""
    if precision != "bf16":
        torch.mm(a, b, out=out)
    elif a.is_cuda:
        torch.mm(_short(a), _short(b), out_dtype=torch.float32, out=out)
    else:
        torch.mm(_short(a).to(a.dtype), _short(b).to(b.dtype), out=out)


def add_product_(target: Tensor, a: Tensor, b: Tensor, alpha: float, keep: bool, precision: Precision) -> None:
    """Add alpha a b to target [N, M], in place; without `keep` overwrite what stood there."""
    if precision != "bf16":
        target.addmm_(a, b, beta=1 if keep else 0, alpha=alpha)
    elif a.is_cuda:
        # Not addmm: with another type of result it asks for other types of `target` from version to version of torch.
        found = torch.mm(_short(a), _short(b), out_dtype=torch.float32)
        target.add_(found, alpha=alpha) if keep else torch.mul(found, alpha, out=target)
    else:
        target.addmm_(_short(a).to(a.dtype), _short(b).to(b.dtype), beta=1 if keep else 0, alpha=alpha)


def _short(matrix: Tensor) -> Tensor:
    """Return a bfloat16 copy with the same strides: rows stay aligned, which tensor cores need for full speed."""
    return torch.empty_strided(matrix.shape, matrix.stride(), dtype=torch.bfloat16, device=matrix.device).copy_(matrix)
