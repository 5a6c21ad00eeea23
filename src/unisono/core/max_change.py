"""Limits on how far one minibatch may move the parameters (docs/mathematics.md 6.1.6 and 1.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unisono.config.optimiser import MaxChangeOptions, NormLimit, SampleLimit
from unisono.core import number
from unisono.core.number import Number


def limits_whole_step(options: MaxChangeOptions) -> bool:
    """Say whether the rule needs the steps of all layers before any is made (nnet3 kinds with a limit)."""
    if not isinstance(options, NormLimit):
        return False
    return max(options.per_layer, options.total, options.output or 0.0) > 0.0


def norm_product(x: Tensor, error: Tensor, deferred: bool = False) -> Number:
    """Return sum_i |x_i| |error_i|, an upper bound of |error^T x|; `x` is [N, in + 1], `error` [N, out]."""
    norms_x = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
    found = norms_x.dot(torch.linalg.vector_norm(error, dim=1, dtype=torch.float64))
    return found if deferred else float(found)


def norm_sum(products: Tensor, deferred: bool = False) -> Number:
    """Return sum_i |p_i| over the per-frame products [N, D] of a vector's gradient, a bound of that of their sum."""
    found = torch.linalg.vector_norm(products, dim=1, dtype=torch.float64).sum()
    return found if deferred else float(found)


def row_scale(options: SampleLimit, product: Number, rate: Number, rows: int | Tensor, limit_scale: float) -> Number:
    """Return the factor <= 1 of one layer's step under `nnet2` or `su_chen`.

    product: gamma_in gamma_out sum_i |x_i| |y_i| of the preconditioned rows. The limit is c = per_sample * rows *
    limit_scale; nnet2 holds rate * product below it, su_chen the product alone (docs/mathematics.md 1.3: the published
    code has the rate's coefficient, normally 1, in place of the rate). A bound that is not finite gives factor 1: what
    overflowed must show in the parameters instead of being scaled away.
    """
    bound = product * rate if options.kind == "nnet2" else product
    return number.cap(options.per_sample * rows * limit_scale, bound)


def step_scales(
    options: NormLimit,
    norms: Sequence[Number],
    momentum: float,
    limit_scale: float,
    limits: Sequence[float] | None = None,
) -> list[Number]:
    """Return the factor of each component's step under the nnet3 kinds, that of the whole step included.

    norms: Frobenius norm of each component's Delta_c. limits: of each, None = `per_layer` of all.
    k_c = min(1, limit / ((1 - m) |Delta_c|)), without the 1 - m for nnet3_2017; g = min(1, total * limit_scale /
    ((1 - m) |k Delta|)); the factor is g k_c. `limit_scale` is 1/sqrt(2) in iteration 0 (docs/mathematics.md 2.4) and
    acts on `total` only, as in Kaldi's scripts.
    A norm that is not finite gives factor 1: the worker is then rejected, not repaired.
    """
    rest = 1.0 - momentum
    own = rest if options.kind == "nnet3" else 1.0
    limits = [options.per_layer] * len(norms) if limits is None else limits
    scales = [number.cap(limit, own * norm) for limit, norm in zip(limits, norms, strict=True)]
    total = number.root_of_squares([scale * norm for scale, norm in zip(scales, norms, strict=True)])
    whole = number.cap(options.total * limit_scale, rest * total)
    return [whole * scale for scale in scales]
