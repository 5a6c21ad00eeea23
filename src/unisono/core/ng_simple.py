"""The simple natural gradient of 2014: a Fisher estimate from the minibatch itself (docs/mathematics.md 6.1.7)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unisono.core.number import Number
from unisono.errors import UserError

_TRACE_FLOOR = 1e-20


def precondition(rows: Tensor, alpha: float) -> Tensor:
    """Return P [N, D], each row multiplied by the inverse Fisher estimate of the *other* rows, not rescaled.

    With lambda = alpha/(N D) tr(R^T R) and G = lambda I + 1/(N-1) sum_j r_j r_j^T: q_i = G^-1 r_i and
    p_i = q_i / (1 - r_i^T q_i / (N-1)), the leave-one-out form. The inverse is taken in min(N, D) dimensions.
    rows: [N, D] with N >= 2. alpha: smoothing, > 0; Kaldi's recipes use 4.
    """
    count, dim = rows.shape
    trace = max(float(torch.linalg.vector_norm(rows, dtype=torch.float64)) ** 2, _TRACE_FLOOR)
    smoothing = alpha * trace / (count * dim)
    double = rows.double()
    if dim <= count:
        fisher = (double.t() @ double).div_(count - 1)
        fisher.diagonal().add_(smoothing)
        solved = torch.cholesky_solve(double.t(), torch.linalg.cholesky(fisher)).t()
    else:
        # (lambda I + R^T R/(N-1))^-1 R^T = R^T (lambda I + R R^T/(N-1))^-1
        gram = (double @ double.t()).div_(count - 1)
        gram.diagonal().add_(smoothing)
        solved = torch.cholesky_solve(double, torch.linalg.cholesky(gram))
    leverage = (double * solved).sum(dim=1, keepdim=True).div_(count - 1)
    return solved.div_(1.0 - leverage).to(rows.dtype)


class SimpleEstimator:
    """One side of one layer under `ng_simple`; it keeps no state between minibatches."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def precondition_(self, rows: Tensor, deferred: bool = False) -> Number:
        """Overwrite rows [N, D] by P and return the factor |R| / |P| that restores the norm.

        A single row, zeros and numbers that are not finite stay as they are, with factor 1.
        """
        before = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
        if rows.shape[0] <= 1 or before == 0.0 or not math.isfinite(before):
            return 1.0
        rows.copy_(precondition(rows, self.alpha))
        after = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
        return before / after if 0.0 < after < math.inf else 1.0

    def updates(self) -> bool:
        """Say that each minibatch needs the host."""
        return True

    def skip(self) -> None:
        """There is nothing to count."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing: each minibatch stands alone."""
        return {}

    def load_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Accept only nothing."""
        if state:
            raise UserError(f"{where}: ng_simple keeps no state: the state is of another optimiser")
