"""Restricted Boltzmann machines trained by contrastive divergence (docs/mathematics.md 6.5), by hand on a flat vector.

h+ = sigma(W v+ + b), binary h_s drawn from it, the reconstruction v- = W^T h_s + c (Gaussian visible units, without
noise) or sigma(W^T h_s + c) (Bernoulli, probabilities), h- = sigma(W v- + b); so k times, each from the h- of the time
before. The statistics use probabilities. With `visible: sample` every v- is drawn, the last, too: then the expected
step approaches the gradient of the likelihood as k grows, which that of probabilities does not.

v+ and v- are halves of one buffer with a column of ones, h+ and -h- of another, so the statistics are one product.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unisono.core import flat, rbm
from unisono.core.flat import Entry, Layout
from unisono.core.number import Number
from unisono.core.rbm import RbmUpdater
from unisono.nn.batch import Batch, StepStats


@dataclass(frozen=True, kw_only=True, slots=True)
class RbmOptions:
    """What one RBM is.

    units: kind of the visible ones. hidden: width of the hidden layer. steps: k of CD-k. visible: whether the
    reconstruction is `probabilities` (means of a Gaussian) or a `sample`.
    """

    units: Literal["gaussian", "bernoulli"]
    hidden: int
    steps: int = 1
    visible: Literal["probabilities", "sample"] = "probabilities"


class _Buffers:
    """Work space for minibatches of up to `rows` frames."""

    def __init__(self, rows: int, visible: int, hidden: int, like: Tensor) -> None:
        self.rows = rows
        self.v, self.h = flat.matrix(2 * rows, visible + 1, like), flat.matrix(2 * rows, hidden, like)
        self.v[:, -1] = 1.0
        self.drawn, self.errors = flat.matrix(rows, hidden, like), flat.matrix(rows, visible, like)
        self.uniform = flat.matrix(rows, visible, like)
        self.bits = like.new_empty(-(-rows * max(hidden, visible) // 4), dtype=torch.int64)
        self.ids = torch.zeros(rows, dtype=torch.int64, device=like.device)


class _Rows:
    """The part of them that `n` frames take, in the same place as long as they last.

    v: [2 n, V + 1] and h: [2 n, H] with the halves v0, v1, h0, h1; drawn: [n, H], the binary h; errors: [n, V].
    """

    def __init__(self, room: _Buffers, n: int) -> None:
        self.n = n
        self.v, self.h = room.v[: 2 * n], room.h[: 2 * n]
        self.data, self.model = self.v[:n, :-1], self.v[n:, :-1]
        self.v0, self.v1, self.h0, self.h1 = self.v[:n], self.v[n:], self.h[:n], self.h[n:]
        self.drawn, self.errors, self.uniform = room.drawn[:n], room.errors[:n], room.uniform[:n]
        self.bits, self.ids = room.bits, room.ids[:n]


class Rbm:
    """One RBM: matrices `hidden` [W b], [H, V + 1], and `visible` c, [1, V], in a flat vector.

    `bind` says which vector is trained; its dtype (float32 or float64) and device are those of all work.
    """

    def __init__(self, options: RbmOptions, visible: int) -> None:
        self.options = options
        self.visible = visible
        hidden = Entry("hidden", (options.hidden, visible + 1))
        self.layout: Layout = flat.make_layout([hidden, Entry("visible", (1, visible), bias=False, gradient="rows")])
        self._params: Tensor | None = None
        self._buffers: _Buffers | None = None
        self._rows: _Rows | None = None

    def initial_parameters(self, generator: torch.Generator, mean: Tensor | None = None) -> Tensor:
        """Return random parameters [P], float32: W from N(0, 0.1²), b = 0.

        mean: [V] mean activations of Bernoulli visible units, from which c comes; c = 0 for Gaussian ones.
        """
        params = flat.zeros(self.layout.size)
        weights, visible = flat.views(self.layout, params).values()
        weights[:, :-1] = 0.1 * torch.randn(self.options.hidden, self.visible, generator=generator)
        if self.options.units == "bernoulli":
            if mean is None:
                raise ValueError("a Bernoulli RBM starts from the mean activations of its visible units")
            visible.copy_(rbm.visible_biases(mean))
        return params

    def bind(self, params: Tensor) -> None:
        """Train and evaluate the vector `params` [P] from now on; it is changed in place."""
        if self._params is None or params.dtype != self._params.dtype or params.device != self._params.device:
            self._buffers = self._rows = None
        self._params = params
        self._weights, visible = flat.views(self.layout, params).values()
        self._biases = visible[0]

    def input_buffer(self, n: int) -> Tensor:
        """Return [n, V], the place of the frames of a minibatch: fill it and pass it as the batch's x."""
        return self._room(n).data

    def ids(self, n: int) -> Tensor:
        """Return int64 [n], a place for labels that nobody reads."""
        return self._room(n).ids

    def step_(self, batch: Batch, updater: RbmUpdater, rate: Number, generator: torch.Generator) -> StepStats:
        """Train on one minibatch, in place, with `rate` per mean gradient; the ids do not matter.

        Returns minus the squared error of the reconstruction that CD made, summed over the frames; `limited` is 1 where
        a Gaussian reconstruction was too wide and the update was skipped. With a tensor as rate nothing waits for the
        device (`core.number`).
        """
        assert self._params is not None
        room, deferred = self._fill(batch), isinstance(rate, Tensor)
        updater.begin(self._params, rate)
        torch.mm(room.v0, self._weights.t(), out=room.h0).sigmoid_()
        source = room.h0
        for _ in range(self.options.steps):
            self._draw_(source, room.drawn, room.bits, generator)
            self._reconstruct_(room.drawn, room, generator)
            torch.mm(room.v1, self._weights.t(), out=room.h1).sigmoid_()
            source = room.h1
        torch.sub(room.data, room.model, out=room.errors)
        stats = self._stats(room, deferred)
        is_gaussian = self.options.units == "gaussian"
        shrink = rbm.shrinkage(room.data, room.model, deferred) if is_gaussian else 1.0
        room.h1.neg_()
        return stats._replace(limited=updater.step_(room.v, room.h, room.errors, shrink))

    def evaluate(self, batch: Batch) -> StepStats:
        """Return minus the squared error of the mean-field reconstruction; of a Bernoulli RBM also the free energy."""
        room = self._fill(batch)
        torch.mm(room.v0, self._weights.t(), out=room.h0).sigmoid_()
        self._mean_(room.h0, room)
        torch.sub(room.data, room.model, out=room.errors)
        stats = self._stats(room)
        if self.options.units == "gaussian":
            return stats
        return stats._replace(free_energy=float(self.free_energy(room.data).sum(dtype=torch.float64)))

    def hidden(self, x: Tensor) -> Tensor:
        """Return h = sigma(W x + b) [N, H] for frames x [N, V]: what the RBM above is trained on; a new tensor."""
        return up(self._weights, x)

    def free_energy(self, x: Tensor) -> Tensor:
        """Return F [N] with p(x) ~ exp(-F): -c x - sum_j log(1 + exp(W x + b)_j), Gaussian: |x - c|²/2 for -c x."""
        hidden = torch.addmm(self._weights[:, -1], x, self._weights[:, :-1].t())
        own = -(x @ self._biases)
        if self.options.units == "gaussian":
            own = 0.5 * (x - self._biases).square().sum(dim=1)
        return own - torch.nn.functional.softplus(hidden).sum(dim=1)

    def _reconstruct_(self, hidden: Tensor, room: _Rows, generator: torch.Generator) -> None:
        self._mean_(hidden, room)
        if self.options.visible == "sample":
            if self.options.units == "gaussian":
                room.model.add_(room.uniform.normal_(generator=generator))
            else:
                self._draw_(room.model, room.uniform, room.bits, generator)
                room.model.copy_(room.uniform)

    def _mean_(self, hidden: Tensor, room: _Rows) -> None:
        torch.addmm(self._biases, hidden, self._weights[:, :-1], out=room.model)
        if self.options.units == "bernoulli":
            room.model.sigmoid_()

    @staticmethod
    def _draw_(probabilities: Tensor, out: Tensor, bits: Tensor, generator: torch.Generator) -> None:
        """Write 1 with the given probabilities, else 0; on a CPU 16 bits decide on each, a multiple of 1/65536."""
        if out.device.type != "cpu":
            torch.bernoulli(probabilities, generator=generator, out=out)
            return
        rows, width = out.shape
        drawn = bits[: -(-rows * width // 4)].random_(-(2**63), None, generator=generator)
        numbers = drawn.view(torch.int16)[: rows * width].view(rows, width)
        out.copy_(numbers).mul_(2.0**-16).add_(0.5).lt_(probabilities)

    def _stats(self, room: _Rows, deferred: bool = False) -> StepStats:
        norms = torch.linalg.vector_norm(room.errors, dim=1).double()
        total = -norms.dot(norms)
        return StepStats(total if deferred else float(total), 0, room.n)

    def _fill(self, batch: Batch) -> _Rows:
        x = batch.x[:, 0]
        room = self._room(len(x))
        if x.data_ptr() != room.data.data_ptr():
            room.data.copy_(x)
        return room

    def _room(self, n: int) -> _Rows:
        if self._params is None:
            raise ValueError("bind a parameter vector first")
        if self._rows is None or self._rows.n != n:
            if self._buffers is None or self._buffers.rows < n:
                self._buffers = _Buffers(n, self.visible, self.options.hidden, self._params)
            self._rows = _Rows(self._buffers, n)
        return self._rows


def up(weights: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return sigma(W x + b) [N, H] for weights [W b] [H, V + 1] and frames x [N, V], in `out` where it is given."""
    return torch.addmm(weights[:, -1], x, weights[:, :-1].t(), out=out).sigmoid_()
