"""The unit of some CPUs for products in bfloat16 (Intel's AMX): float32 matrices, rounded on their way in.

oneDNN takes factors and result in float32 and rounds the factors while it packs them, which spares the passes over
memory of rounding them beforehand. It may leave that out, and does so without a word where the processor has no such
unit, where a product is too small, and for some shapes. So each shape is tried once.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

_Form = tuple[tuple[int, ...], tuple[int, ...]]  # shape and strides

_BETWEEN = 1.0 + 2.0**-9, 1.0 + 3.0 * 2.0**-9  # bfloat16 has no such numbers
_NEAREST = 1.0, 1.0 + 2.0**-7


def _setting() -> Any:
    return getattr(torch.backends.mkldnn, "matmul", None)  # since torch 2.9


@contextlib.contextmanager
def rounding() -> Iterator[None]:
    """Let products of float32 matrices on the CPU round their factors to bfloat16; sums stay float32."""
    setting = _setting()
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


Rounding = Callable[[], contextlib.AbstractContextManager[None]]


def takes(product: Callable[..., object], *matrices: Tensor, under: Rounding = rounding) -> bool:
    """Say whether `product` of such matrices, called within `under()`, rounds its factors to bfloat16.

    product: called as product(result, factor, factor) on matrices of its own, the result zero; once for each
    combination of shapes and strides.
    """
    if _setting() is None or any(one.dtype != torch.float32 or one.device.type != "cpu" for one in matrices):
        return False
    return _tried(product, tuple((tuple(one.shape), one.stride()) for one in matrices), under)


@functools.cache
def _tried(product: Callable[..., object], forms: tuple[_Form, ...], under: Rounding) -> bool:
    found = []
    for values in (_BETWEEN, _NEAREST):
        result, a, b = (torch.empty_strided(*form, dtype=torch.float32, device="cpu") for form in forms)
        with under():
            product(result.zero_(), a.fill_(values[0]), b.fill_(values[1]))
        found.append(result)
    return torch.equal(*found)
