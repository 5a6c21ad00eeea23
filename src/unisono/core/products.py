"""The matrix products of a training step, in the precision that the config names (`precision`).

`float32` and `tf32` are products as the library makes them; for `tf32` CUDA is told that its tensor cores may round
float32 factors to 10 bits of fraction (`allow_tf32`), which no CPU does. `bf16`: both factors are rounded to bfloat16
(7 bits of fraction) and multiplied with sums in float32. In each, weights, gradients, momentum and the statistics of
natural gradient stay float32: rounded is only what enters a product. On a CPU its unit for bfloat16 rounds as it reads
(`core.bfloat16_unit`), if it has one; without, rounded copies are multiplied as float32, for the numbers' sake.

Tensor cores want rows, and the length of what is summed over, in multiples of 16 bytes. So on a GPU matrices are
multiplied with the zeros that pad their rows (`flat.whole`) where that is where they meet, and copies in bfloat16 are
padded, those of weights in both directions.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from unisono.core import bfloat16_unit, flat, number
from unisono.core.number import Number

Precision = Literal["float32", "tf32", "bf16"]
_Key = tuple[int, int]  # where a factor lies, and its columns


def allow_tf32(precision: Precision) -> None:
    """Tell CUDA whether the float32 products of this process may be TF32: yes for `tf32`, and beside bfloat16."""
    torch.backends.cuda.matmul.allow_tf32 = precision != "float32"


class Products:
    """The three products of an affine layer y = W [x; 1].

    x: [N, in + 1] with a column of ones; weight, target: [out, in + 1]; error, and `out` of `forward`: [N, out]. In
    bf16 the rounded copy of a factor, where one is needed, is made at its first use and serves until `begin` or
    `changed` says it is stale.
    Its place is kept for as long as this object lives, so a network makes a new one where it makes new buffers.
    """

    def __init__(self, precision: Precision = "float32") -> None:
        self.is_short = precision == "bf16"
        self._copies: dict[_Key, Tensor] = {}
        self._fresh: set[_Key] = set()

    def begin(self) -> None:
        """Start a step: all that was rounded before is stale."""
        self._fresh.clear()

    def changed(self, *factors: Tensor) -> None:
        """Note that factors were overwritten within a step."""
        self._fresh.difference_update(map(_key, factors))

    def forward(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """Write x W^T into `out`; what pads its rows is used up."""
        if not self._made(forward_product, out, x, weight):
            weight, out = self._short(weight, rows=flat.padded(len(weight))), flat.whole(out)
            columns = min(len(weight), out.shape[1])
            _multiply(self._short(x), weight[:columns].t(), out[:, :columns])

    def backward(self, error: Tensor, weight: Tensor, out: Tensor) -> None:
        """Write error W, without the column of the bias, into `out` [N, in]."""
        if not self._made(backward_product, out, error, weight):
            error, rows = self._short(error), flat.padded(len(weight))
            _multiply(error, self._short(weight, rows)[:, : out.shape[1]], out)

    def rounded(self, factor: Tensor) -> Tensor:
        """Return a factor as it enters a product; a new copy in bf16."""
        if not self.is_short or factor.dtype == torch.bfloat16:
            return factor
        return factor.bfloat16() if multiplies_bfloat16(factor) else factor.bfloat16().to(factor.dtype)

    def multiply(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """Return a b, in `out` where that is given; in bf16 of factors rounded here, without copies that are kept."""
        return _multiply(self.rounded(a), self.rounded(b), out)

    def add_step_(self, target: Tensor, x: Tensor, error: Tensor, rate: Number, keep: bool = True) -> None:
        """Add -rate error^T x to `target`, in place: a step of gradient descent for a loss with derivative `error`.

        target: the weights themselves (momentum 0) or the buffer Delta of the momentum rule. Without `keep` what stood
        there is overwritten. The gradient is summed over the N rows, never divided by N, so a rate means the same as
        in Kaldi. A deferred rate may be multiplied into `error`.
        """
        target, product = flat.whole(target), add_gradient if keep else set_gradient
        if isinstance(rate, Tensor) and not self.is_short:
            product(target, x, error.mul_(rate), -1.0)
        elif isinstance(rate, Tensor) or not self._made(product, target, x, error, -rate):
            # Not addmm: with another type of result it asks for other types of `target` from version to version.
            found = _multiply(self._short(error).t(), self._short(x))[: target.shape[0], : target.shape[1]]
            if keep:
                number.add_(target, found, -rate)
            else:
                torch.mul(found, -rate, out=target)

    def _made(self, product: Callable[..., object], out: Tensor, a: Tensor, b: Tensor, *scale: float) -> bool:
        """Make a product of the factors as they are, in float32 or where the CPU's unit rounds them; else say False."""
        if not self.is_short:
            product(out, a, b, *scale)
            return True
        if not bfloat16_unit.takes(product, out, a, b):
            return False
        with bfloat16_unit.rounding():
            product(out, a, b, *scale)
        return True

    def _short(self, factor: Tensor, rows: int = 0) -> Tensor:
        """Return a factor rounded to bfloat16, its columns padded with zeros to a multiple of 16, a weight's rows too.

        rows: how many there should be with the padding; 0 for as many as the factor has. Where such products are not to
        be had (`multiplies_bfloat16`), the rounded numbers are kept as float32.
        """
        key, count = _key(factor), len(factor)
        copy = self._copies.get(key)
        if copy is None or len(copy) < max(rows, count):
            dtype = torch.bfloat16 if multiplies_bfloat16(factor) else factor.dtype
            copy = factor.new_zeros(max(rows, count), flat.padded(factor.shape[1]), dtype=dtype)
            self._copies[key] = copy
        if key not in self._fresh:
            source = flat.whole(factor)
            copy[:count, : source.shape[1]].copy_(source.bfloat16() if copy.dtype == factor.dtype else source)
            self._fresh.add(key)
        return copy[: max(rows, count)]


def multiplies_bfloat16(factor: Tensor) -> bool:
    """Say whether bfloat16 factors can be multiplied with sums and result in float32 where this one lies."""
    return factor.is_cuda


def forward_product(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """Write x W^T into `out`, factors as they are; shapes as in `Products`."""
    torch.mm(flat.whole(x), flat.whole(weight).t(), out=out)


def backward_product(out: Tensor, error: Tensor, weight: Tensor) -> None:
    """Write error W, without the column of the bias, into `out`."""
    torch.mm(error, weight[:, :-1], out=out)


def add_gradient(target: Tensor, x: Tensor, error: Tensor, scale: float = -0.5) -> None:
    """Add scale error^T x to `target`."""
    target.addmm_(error.t(), flat.whole(x), alpha=scale)


def set_gradient(target: Tensor, x: Tensor, error: Tensor, scale: float = -0.5) -> None:
    """Write scale error^T x into `target`."""
    target.addmm_(error.t(), flat.whole(x), beta=0, alpha=scale)


def _key(factor: Tensor) -> _Key:
    return factor.data_ptr(), factor.shape[1]


def _multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Return a b in float32, of factors that were rounded."""
    if a.dtype != torch.bfloat16:
        return torch.mm(a, b, out=out)
    return torch.mm(a, b, out_dtype=torch.float32) if out is None else torch.mm(a, b, out_dtype=torch.float32, out=out)
