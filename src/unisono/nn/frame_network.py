"""Feed-forward networks: forward, backward and update written by hand on views of one flat vector.

`FrameNetwork` is what they share: a stack of affine layers, a nonlinearity after each but the last, a softmax. The
nonlinearity of `nn.dnn` keeps the width, that of `nn.pnorm` makes one output of each group of affine outputs.

Activations lie in padded buffers with a column of ones, so that a layer with its bias is one matrix product and its
update another, which adds straight into the weights. Buffers are made once per minibatch size; a step allocates
nothing of the size of a layer, but for the update in bf16 and the derivative of `relu_renorm`. Of a step's time in
float32 all but a few hundredths is matrix products.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unisono.config.build import complete
from unisono.config.network import DnnOptions, Drawn, PnormOptions
from unisono.config.optimiser import OptimiserOptions
from unisono.config.transform import FOLDED
from unisono.core import flat
from unisono.core.flat import Entry, Layout
from unisono.core.number import Number
from unisono.core.optimiser import Optimiser
from unisono.core.products import Precision, Products
from unisono.core.updater import Updater
from unisono.errors import UserError
from unisono.nn import activation, loss
from unisono.nn.batch import Batch, StepStats
from unisono.nn.ends import Ends
from unisono.nn.frame_module import FrameModule, spliced
from unisono.nn.initial import random_parameters
from unisono.nn.network import Utterances, no_utterances
from unisono.units import TrainingUnit

PIECE = 512  # frames of an utterance that are computed at a time


class _Buffers:
    """Work space for minibatches of up to `rows` frames: activations, derivatives, dropout masks.

    apart: whether hidden layers need their affine outputs beside what they hand up. raw: whether the input is
    transformed, and so needs a place of its own.
    """

    def __init__(
        self, shapes: tuple[tuple[int, int], ...], rows: int, like: Tensor, *, dropout: bool, apart: bool, raw: bool
    ) -> None:
        widths = [columns - 1 for _, columns in shapes[1:]]  # of what the nonlinearities put out
        hidden = widths if dropout else []
        self.rows = rows
        self.ids = torch.zeros(rows, dtype=torch.int64, device=like.device)
        self.x = [flat.matrix(rows, columns, like) for _, columns in shapes]
        self.raw = flat.matrix(rows, shapes[0][1] - 1, like) if raw else self.x[0][:, :-1]
        self.logits = flat.matrix(rows, shapes[-1][0], like)
        self.errors = [flat.matrix(rows, width, like) for width in (*widths, shapes[-1][0])]
        self.values = [flat.matrix(rows, outputs, like) for outputs, _ in shapes[:-1]] if apart else []
        self.outputs = [flat.matrix(rows, outputs, like) for outputs in hidden]
        self.masks = [flat.matrix(rows, outputs, like) for outputs in hidden]
        self.draws = like.new_empty(activation.room_for_draws(rows, max(hidden, default=0)), dtype=torch.int64)
        self.scales = [like.new_empty(rows, 1) for _ in shapes[:-1]]
        self._first: _Rows | None = None

    def first(self, n: int) -> "_Rows":
        """Return the first `n` rows of everything; the same object while `n` stays."""
        if self._first is None or self._first.n != n:
            self._first = _Rows(self, n)
        return self._first


class _Rows:
    """Views of the first `n` rows of buffers: made once, as a step would otherwise spend a hundredth on making them.

    x: inputs of each layer with their column of ones, which `ones` is; `padding` is what pads x. outputs: what each
    layer hands up, the last one its logits. affine: where its product goes, `outputs` itself unless the nonlinearity
    changes the width. errors: derivatives at `outputs`; slopes: those at `affine`, in whose place they come to lie.
    kept: outputs before dropout, where there is dropout.
    """

    def __init__(self, room: _Buffers, n: int) -> None:
        self.n = n
        self.x = [x[:n] for x in room.x]
        self.batch = Batch(room.raw[:n].unsqueeze(1), room.ids[:n].unsqueeze(1), None)
        self.ones = [x[:, -1] for x in self.x]
        self.padding = [flat.whole(x)[:, x.shape[1] :] for x in self.x]
        self.logits = room.logits[:n]
        self.outputs = [*(x[:, :-1] for x in self.x[1:]), self.logits]
        self.errors = [error[:n] for error in room.errors]
        values = [values[:n] for values in room.values]
        self.affine = [*values, self.logits] if values else self.outputs
        self.slopes = [*values, self.errors[-1]] if values else self.errors
        self.kept = [kept[:n] for kept in room.outputs]
        self.masks = [mask[:n] for mask in room.masks]
        self.draws = room.draws
        self.scales = [scale[:n] for scale in room.scales]


class FrameNetwork:
    """A stack of affine layers with one nonlinearity and a softmax on top.

    kind: of the nonlinearity. hidden: how many numbers each hidden layer hands up; each is made of `group` affine
    outputs. dropout: see `DnnOptions`. The layers are named hidden1, hidden2, ..., output; input_dim =
    (left + 1 + right) * feature_dim. `bind` says which flat vector is trained; its dtype (float32 or float64) is the
    dtype of everything, its device that of all work. `precision` is that of the products of a training step alone.
    """

    options: DnnOptions | PnormOptions
    classifies = True

    def __init__(
        self,
        kind: activation.Kind,
        hidden: tuple[int, ...],
        context: tuple[int, int],
        sizes: tuple[int, int],
        *,
        group: int = 1,
        dropout: float = 0.0,
        precision: Precision = "float32",
        constants: Mapping[str, Tensor],
    ) -> None:
        if not hidden or min(hidden) < 1 or min(context) < 0 or group < 1:
            raise UserError(
                f"network: hidden {list(hidden)}, context {list(context)}, group {group}: give widths and groups of 1"
                " or more, and contexts of 0 or more frames"
            )
        self._kind: activation.Kind = kind
        self._dropout = dropout
        self._precision: Precision = precision
        self._products, self._plain = Products(precision), Products()
        self.feature_dim, self.num_pdfs = sizes
        self.context = context
        self.input_dim = (sum(context) + 1) * self.feature_dim
        self.unit = TrainingUnit(1, *context)
        self.constants = constants
        self._ends = Ends(constants, self.input_dim, self.num_pdfs)
        sides = enumerate(zip([self.input_dim, *hidden], (group * width for width in hidden), strict=False), start=1)
        entries = [Entry(f"hidden{n}", (o, i + 1), gain=activation.gain(kind, i, o)) for n, (i, o) in sides]
        entries.append(Entry("output", (self.num_pdfs, hidden[-1] + 1), is_output=True))
        self.layout: Layout = flat.make_layout(entries)
        self._params: Tensor | None = None
        self._buffers: _Buffers | None = None

    def spec(self) -> dict[str, Any]:
        """Return what a model file keeps about the network, plain JSON values."""
        shape = {key: value for key, value in complete(self.options).items() if key not in ("dropout", *FOLDED)}
        return {**shape, "feature_dim": self.feature_dim, "num_pdfs": self.num_pdfs}

    def initial_parameters(
        self, options: Drawn, generator: torch.Generator, utterances: Utterances = no_utterances
    ) -> Tensor:
        """Return random parameters [P], float32."""
        return random_parameters(self.layout, options, generator)

    def updater(self, options: OptimiserOptions) -> Optimiser:
        """Return the configured optimiser, as new."""
        return Optimiser(options, self.layout)

    def bind(self, params: Tensor) -> None:
        """Train and evaluate the vector `params` [P] from now on; it is changed in place."""
        if self._params is None or params.dtype != self._params.dtype or params.device != self._params.device:
            self._buffers = None
        self._params = params
        self._ends.bind(params)
        self._weights = list(flat.views(self.layout, params).values())

    def buffers(self, n: int) -> Batch:
        """Return a minibatch to be filled: x [n, 1, input_dim], spliced frames, and ids [n, 1]; a step overwrites x."""
        return self._room(n).batch

    def step_(
        self, batch: Batch, updater: Updater, rate: Number, generator: torch.Generator | None = None
    ) -> StepStats:
        """Train on one minibatch, in place, with `rate` per summed gradient.

        `generator` draws the dropout masks; it is needed only where dropout is on. Returns the objective before the
        update, as seen through dropout. With a tensor as rate nothing waits for the device (`core.number`), save where
        the updater needs the host.
        """
        if self._dropout > 0.0 and generator is None:
            raise ValueError("dropout needs a generator")
        room = self._room(batch.x.shape[0])
        drawn = generator if self._dropout > 0.0 else None
        self._products.begin()
        logits = self._forward(batch.x[:, 0], room, self._products, drawn)
        ids, mask = batch.ids[:, 0], None if batch.mask is None else batch.mask[:, 0].to(logits.dtype)
        error = room.errors[-1]
        rows = flat.whole(error)
        stats = loss.posteriors_and_stats(flat.whole(logits), ids, mask, rows, deferred=isinstance(rate, Tensor))
        loss.to_error_(rows, ids, mask)
        self._ends.above_(error)
        assert self._params is not None
        updater.begin(self._params, rate, self._products)
        for index in reversed(range(len(self._weights))):
            x, weight = room.x[index], self._weights[index]
            if index > 0:
                self._products.backward(error, weight, room.errors[index - 1])
                self._backward(room, index - 1)
                updater.layer_(index, x, error)
                error = room.slopes[index - 1]
            else:
                updater.layer_(index, x, error)
        return stats._replace(limited=updater.finish_())

    def evaluate(self, batch: Batch) -> StepStats:
        """Return objective and accuracy of a minibatch, without dropout and without an update."""
        room = self._room(batch.x.shape[0])
        logits = self._forward(batch.x[:, 0], room, self._plain)
        mask = None if batch.mask is None else batch.mask[:, 0]
        return loss.posteriors_and_stats(flat.whole(logits), batch.ids[:, 0], mask, flat.whole(room.errors[-1]))

    def log_posteriors(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame) [T, num_pdfs] for the frames [T, feature_dim] of an utterance; a new tensor."""
        assert self._params is not None
        found, frames = self._params.new_empty(len(frames), self.num_pdfs), frames.to(self._params)
        for begin in range(0, len(frames), PIECE):
            places = torch.arange(begin, min(begin + PIECE, len(frames)), device=frames.device)
            x = spliced(frames, self.context, places)
            logits = self._forward(x, self._room(len(x)), self._plain)
            found[begin : begin + PIECE] = torch.log_softmax(logits, dim=1)
        return found

    def module(self) -> nn.Module:
        """Return a differentiable module with a copy of the bound parameters."""
        assert self._params is not None
        weights = list(flat.views(self.layout, self.folded(self._params)).values())
        return FrameModule(weights, self._kind, self.context)

    def folded(self, params: Tensor) -> Tensor:
        """Return the vector [P] of the network that says the same without constants."""
        return self._ends.folded(self.layout, params)

    def _forward(self, x: Tensor, room: _Rows, products: Products, generator: torch.Generator | None = None) -> Tensor:
        first = room.x[0][:, :-1]
        if x.data_ptr() != first.data_ptr():
            self._ends.below_(x, first)
        last = len(self._weights) - 1
        for index, (weight, outputs) in enumerate(zip(self._weights, room.outputs, strict=True)):
            room.ones[index].fill_(1.0)  # natural gradient overwrites the ones
            room.padding[index].zero_()  # what is not finite must not stay where nothing is
            products.forward(room.x[index], weight, room.affine[index])
            if index < last:
                activation.forward_(self._kind, room.affine[index], outputs, room.scales[index])
                if generator is not None:
                    mask = room.masks[index]
                    activation.dropout_mask_(mask, room.draws, self._dropout, generator)
                    room.kept[index].copy_(outputs)
                    outputs.mul_(mask)
        self._ends.above_(room.logits)
        flat.whole(room.logits)[:, self.num_pdfs :].fill_(-torch.inf)  # what pads the pdfs on a GPU has probability 0
        return room.logits

    def _backward(self, room: _Rows, index: int) -> None:
        """Take the derivative at hidden layer `index`'s output, in place, back through dropout and nonlinearity."""
        derivative, output = room.errors[index], room.outputs[index]
        if self._dropout > 0.0:
            derivative.mul_(room.masks[index])
            output = room.kept[index]
        activation.backward_(self._kind, derivative, output, room.scales[index], room.slopes[index])

    def _room(self, rows: int) -> _Rows:
        if self._params is None:
            raise ValueError("bind a parameter vector first")
        if self._buffers is None or self._buffers.rows < rows:
            kinds = {"dropout": self._dropout > 0.0, "apart": self._kind == "pnorm", "raw": self._ends.transforms}
            self._buffers = _Buffers(self.layout.shapes, rows, self._params, **kinds)
            self._products = Products(self._precision)
        return self._buffers.first(rows)
