"""The products of a recurrence, packed, in blocks, or as they come: all the same sums."""

import pytest
import torch

from unisono.nn import packed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize(("rows", "out", "width"), [(4, 20, 5), (64, 1000, 300), (300, 1000, 300)])
def test_products_are_sums(monkeypatch, dtype, is_there, rows, out, width):
    monkeypatch.setattr(packed, "IS_THERE", packed.IS_THERE and is_there)
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(out, width + 7, generator=generator, dtype=dtype)
    weight, bias = whole[:, 3 : 3 + width], whole[:, -1]
    x = torch.randn(rows, width + 2, generator=generator, dtype=dtype)[:, 1 : 1 + width]
    y = torch.randn(rows, out, generator=generator, dtype=dtype)
    add, multiply = packed.products(weight, bias, rows)
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-11}
    torch.testing.assert_close(multiply(y), y @ weight, **tolerance)
    expected = y + x @ weight.t() + bias
    add(x, y)
    torch.testing.assert_close(y, expected, **tolerance)
