"""Online natural gradient: rows of a minibatch times a slowly moving inverse Fisher estimate (docs/mathematics.md 6.1).

For a layer y = W [x; 1] the rows of the inputs and the rows of the derivatives each have an estimator; the step is
gamma_in gamma_out Y^^T X^. The estimator works in place: X^ = X - (X W^T) W overwrites X.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unisono.config.optimiser import NgOptions
from unisono.core import fisher, flat, number
from unisono.core.fisher import Factor, FactorUpdate, Form
from unisono.core.ng_updates import PendingUpdate, flush
from unisono.core.number import Number
from unisono.errors import UserError

START_PASSES = 3  # over the first minibatch, from the fixed pattern
VECTOR_RANK, VECTOR_PERIOD = 8, 10  # Kaldi's NaturalGradientPerElementScaleComponent


class Preset(NamedTuple):
    """Constants of one published code. With halved_ranks a rank is at most half the layer's width."""

    form: Form
    rank_in: int
    rank_out: int
    update_period: int
    halved_ranks: bool = False


_LATER = Form(
    eigen_start=False,
    initial_updates=9,
    one_pass=True,
    delta=5e-4,
    floor_d=True,
    largest_eta=0.9,
    gram_schmidt=True,
)
_FIRST = Form(
    eigen_start=True,
    initial_updates=9,
    one_pass=False,
    delta=1e-5,
    floor_d=False,
    largest_eta=1.0,
    gram_schmidt=False,
)
PRESETS = {
    "nnet3": Preset(_LATER._replace(initial_updates=10), 20, 80, 4, halved_ranks=True),
    "nnet3_2017": Preset(_LATER, 20, 80, 4),
    "nnet2": Preset(_LATER._replace(one_pass=False), 20, 80, 4),
    "nnet2_2014": Preset(_FIRST, 20, 80, 4),
    "effective_2015": Preset(_FIRST, 40, 40, 1),
}


def estimator_for(options: NgOptions, side: Literal["in", "out"], dim: int) -> "OnlineEstimator":
    """Return the estimator of one side of a layer; dim counts the bias column on the input side."""
    preset = PRESETS[options.preset]
    given = options.rank_in if side == "in" else options.rank_out
    rank = given
    if rank is None:
        rank = preset.rank_in if side == "in" else preset.rank_out
        if preset.halved_ranks:
            # Kaldi: (in + 1)/2 and (out + 1)/2, where `in` leaves out the bias.
            rank = min(rank, dim // 2 if side == "in" else (dim + 1) // 2)
    return OnlineEstimator(
        dim=dim,
        rank=rank,
        update_period=preset.update_period if options.update_period is None else options.update_period,
        history=options.history,
        minibatches_history=options.minibatches_history or 0.0,
        alpha=options.alpha,
        form=preset.form,
    )


def vector_estimator(options: NgOptions, dim: int) -> "OnlineEstimator":
    """Return the estimator of the per-frame products of a vector of `dim` numbers, such as the peephole of a gate."""
    return OnlineEstimator(
        dim=dim,
        rank=VECTOR_RANK,
        update_period=VECTOR_PERIOD,
        history=options.history,
        minibatches_history=options.minibatches_history or 0.0,
        alpha=options.alpha,
        form=PRESETS[options.preset].form,
    )


class OnlineEstimator:
    """The Fisher factor of one side of one layer and the rule that applies and updates it.

    dim: width of the rows. rank: R; reduced to dim - 1. The other arguments are those of NgOptions, resolved.
    Width 1 leaves rows as they are.
    """

    def __init__(
        self,
        *,
        dim: int,
        rank: int,
        update_period: int,
        history: float,
        minibatches_history: float,
        alpha: float,
        form: Form,
    ) -> None:
        self.dim = dim
        self.rank = min(rank, dim - 1)
        self.update_period = update_period
        self.history = history
        self.minibatches_history = minibatches_history
        self.alpha = alpha
        self.form = form
        self.count = 0
        self.factor: Factor | None = None
        self.pending: PendingUpdate | None = None
        self._ht: Tensor | None = None
        self._j: Tensor | None = None

    def eta(self, rows: int) -> float:
        """Return the forgetting factor for a minibatch of `rows` (docs/mathematics.md 6.1.4)."""
        if self.minibatches_history > 0.0:
            return 1.0 / self.minibatches_history
        return min(1.0 - math.exp(-rows / self.history), self.form.largest_eta)

    def updates(self) -> bool:
        """Say whether the next call updates the estimate."""
        initial = self.form.initial_updates
        return self.count <= initial or (self.count - initial) % self.update_period == 0

    def precondition_(self, rows: Tensor, deferred: bool = False) -> Number:
        """Overwrite rows [N, dim] by X^ = X - H W and return gamma = |X| / |X^| (docs/mathematics.md 6.1.3).

        X^ is made with the old estimate; the new one serves the next minibatch. Zeros and numbers that are not finite
        give 1, and what is not finite never reaches the estimate. Deferred, nothing is read but at the start: an
        update is left pending, and `ng_updates.flush` applies it at the end of the step.
        """
        count = rows.shape[0]
        if self.rank == 0 or count == 0:
            return 1.0
        rows = flat.whole(rows)
        before, updates = squared_norm(rows, deferred), self.updates()
        if (self.factor is None or not deferred) and not math.isfinite(before):
            return 1.0
        if self.factor is None:
            self.factor = self._start(rows, float(before))
        elif self.factor.w.device != rows.device:
            w = flat.matrix(self.rank, self.dim, rows).copy_(self.factor.w)
            self.factor = self.factor._replace(w=w)
        ht = self._products(rows)
        if updates:
            self._request(rows, ht, before)
        rows.addmm_(ht.t(), flat.whole(self.factor.w), alpha=-1.0)
        if rows.shape[1] > self.dim:
            rows[:, self.dim :].zero_()  # where a row is not finite, zero times it is not either; the buffer goes on
        if not deferred:
            flush([self], rows)
        self.skip()
        return number.root_of_ratio(before, squared_norm(rows, deferred))

    def skip(self) -> None:
        """Count a minibatch that was preconditioned by replaying a captured step."""
        self.count += 1

    def solve(self, pending: PendingUpdate) -> FactorUpdate | None:
        """Return the update of the factor, from numbers on the CPU; None where they overflow."""
        assert self.factor is not None
        eta, trace = self.eta(pending.rows), float(pending.trace)
        if not math.isfinite(trace):
            return None
        return fisher.update_for(
            self.factor, pending.big_l, pending.big_k, pending.rows, trace, eta, self.alpha, self.form
        )

    def apply(self, update: FactorUpdate, left: Tensor, scale: Tensor) -> None:
        """Apply what `solve` gave; left and scale with the type of the estimate's matrix, and where it lies."""
        assert self.factor is not None and self._j is not None
        # In place: a captured step goes on reading the same storage.
        fisher.apply_(self.factor.w, self._j, left, scale, update, self.form)
        self.factor = self.factor._replace(d=update.d, rho=update.rho)

    def state(self) -> dict[str, Tensor]:
        """Return copies of w, d, rho [1] and the counter t [1]; nothing before the first minibatch."""
        if self.factor is None:
            return {}
        w, d, rho = self.factor
        rho_t = torch.tensor([rho], dtype=torch.float64)
        w = w.to("cpu", copy=True).contiguous()
        return {"w": w, "d": d.clone(), "rho": rho_t, "t": torch.tensor([self.count])}

    def load_state(self, state: Mapping[str, Tensor], where: str) -> None:
        """Take over a state; an empty one means a fresh start. Raises UserError for one of another shape."""
        if not state:
            self.factor, self.count = None, 0
            return
        shapes = {"w": (self.rank, self.dim), "d": (self.rank,), "rho": (1,), "t": (1,)}
        for key in {*shapes, *state}:
            found = tuple(state[key].shape) if key in state else None
            if found != shapes.get(key):
                raise UserError(f"{where}{key}: shape {found}, expected {shapes.get(key)}: it is of another config")
        w = flat.matrix(self.rank, self.dim, state["w"]).copy_(state["w"])
        self.factor = Factor(w, state["d"].double().clone(), float(state["rho"]))
        self.count = int(state["t"])

    def _start(self, rows: Tensor, trace: float) -> Factor:
        if self.form.eigen_start:
            return fisher.eigen_start(rows[:, : self.dim], self.rank, self.alpha, self.form.delta)
        self.factor = fisher.pattern_start(self.rank, self.dim, self.alpha, rows)
        for _ in range(1 if self.form.one_pass and rows.shape[0] <= self.rank else START_PASSES):
            self._request(rows, self._products(rows), trace)
            flush([self], rows)
        return self.factor

    def _products(self, rows: Tensor) -> Tensor:
        """Return H^T = W X^T [R, N] in a buffer; computed this way round because thin ranks are then faster."""
        assert self.factor is not None
        count = rows.shape[0]
        if self._ht is None or self._ht.numel() < self.rank * count or self._ht.dtype != rows.dtype:
            self._ht = rows.new_empty(self.rank * count)
        return torch.mm(flat.whole(self.factor.w), rows.t(), out=self._ht[: self.rank * count].view(self.rank, count))

    def _request(self, rows: Tensor, ht: Tensor, trace: Number) -> None:
        """Request an update by `rows` as they are now; J = H^T X [R, dim] stays in a buffer until it is made."""
        if self._j is None or self._j.dtype != rows.dtype or self._j.device != rows.device:
            self._j = flat.matrix(self.rank, self.dim, rows)
        torch.mm(ht, rows, out=flat.whole(self._j))
        trace = trace if isinstance(trace, Tensor) else rows.new_full((), trace, dtype=torch.float64)
        self.pending = PendingUpdate(fisher.gram(ht), fisher.gram(flat.whole(self._j)), trace, len(rows))


def squared_norm(rows: Tensor, deferred: bool = False) -> Number:
    """Return tr(X X^T) of rows [N, dim]; by row norms, because a padded matrix is read fastest so."""
    if deferred:
        return torch.linalg.vector_norm(rows, dtype=torch.float64).square()
    norms = torch.linalg.vector_norm(rows, dim=1).double()
    return float(norms.dot(norms))
