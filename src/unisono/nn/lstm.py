"""A stack of LSTM layers with a softmax on top, trained on chunks of utterances (docs/mathematics.md 2.5).

A chunk of W labelled frames is computed over left + W + delay frames: the first `left` only warm up the state, and the
label of a frame is read from the output `delay` frames later. The rows of each layer are those of all times together,
so each component sees one product and one call of natural gradient a minibatch.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unisono.config.build import complete
from unisono.config.network import Drawn, LstmOptions
from unisono.config.optimiser import OptimiserOptions
from unisono.config.transform import FOLDED
from unisono.core import flat
from unisono.core.flat import Layout
from unisono.core.number import Number
from unisono.core.optimiser import Optimiser
from unisono.core.products import Precision, Products
from unisono.core.updater import Updater
from unisono.nn import activation, loss
from unisono.nn.batch import Batch, StepStats
from unisono.nn.ends import Ends, checked
from unisono.nn.frame_module import spliced
from unisono.nn.initial import random_parameters
from unisono.nn.lstm_layer import LstmLayer
from unisono.nn.lstm_module import LstmModule
from unisono.nn.lstm_rooms import Rooms
from unisono.nn.lstm_shape import entries_of, shapes_of, truncation_of
from unisono.nn.network import Utterances, no_utterances

PIECE = 512  # frames of a whole utterance that are computed at a time
# Work spaces: of whole minibatches, of half ones, of the last of a slice; of batches of evaluation, and the last of a
# subset of train, of dev, and of all of dev; of a piece of an utterance.
_KEPT_ROOMS = 8
_TRAINING_ONLY = ("dropout", "forget_bias", "clip", "zeroing", "zeroing_interval", "backprop_margin", *FOLDED)


class Lstm:
    """LSTM layers named lstm1, lstm2, ... and an output layer.

    Matrices: lstm<l>.gates [4 cells, in + rec + 1], four blocks i, f, o, c; lstm<l>.peepholes [3, cells], three blocks
    i, f, o; lstm<l>.projection; output. `bind` says which flat vector is trained; its dtype is that of everything.
    """

    classifies = True

    def __init__(
        self,
        options: LstmOptions,
        feature_dim: int,
        num_pdfs: int,
        precision: Precision = "float32",
        constants: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.options, self.unit = options, options.unit
        self.feature_dim, self.num_pdfs = feature_dim, num_pdfs
        self.input_dim = feature_dim * (sum(options.splice) + 1)
        self.constants = checked(options, constants or {})
        self._ends = Ends(self.constants, self.input_dim, num_pdfs)
        shapes = shapes_of(options, self.input_dim)
        self.layers = [LstmLayer(shape, truncation_of(options)) for shape in shapes]
        self.layout: Layout = flat.make_layout(entries_of(options, shapes, num_pdfs))
        self._places = {name: place for place, name in enumerate(self.layout.names)}
        self._precision: Precision = precision
        self._plain = Products()
        self._params: Tensor | None = None
        self._rooms: OrderedDict[tuple[int, int, int], Rooms] = OrderedDict()

    def spec(self) -> dict[str, Any]:
        """Return what a model file keeps about the network, plain JSON values."""
        shape = {key: value for key, value in complete(self.options).items() if key not in _TRAINING_ONLY}
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
            self._rooms.clear()
        self._params = params
        self._ends.bind(params)
        views = flat.views(self.layout, params)
        for number, layer in enumerate(self.layers, start=1):
            name = f"lstm{number}"
            layer.bind(views[f"{name}.gates"], views.get(f"{name}.peepholes"), views.get(f"{name}.projection"))
        self._output = views["output"]

    def buffers(self, n: int) -> Batch:
        """Return a minibatch of n chunks to be filled: x [n, unit.frames, feature_dim], ids and mask [n, width]."""
        return self._room(self.options.times, n).batch

    def step_(
        self, batch: Batch, updater: Updater, rate: Number, generator: torch.Generator | None = None
    ) -> StepStats:
        """Train on one minibatch of chunks, in place, with `rate` per gradient summed over the counted frames.

        batch: see `buffers`; before [n]: frames of x that lie before the utterance, during which state and output are
        held at zero. Returns the objective before the update.
        """
        if self.options.dropout > 0.0 and generator is None:
            raise ValueError("dropout needs a generator")
        assert self._params is not None
        room, deferred = self._room(self.options.times, len(batch.x)), isinstance(rate, Tensor)
        drawn = generator if self.options.dropout > 0.0 else None
        room.products.begin()
        held = self._forward(batch, room, room.products, drawn, deferred)
        ids, mask = _time_major(batch.ids), None
        if batch.mask is not None:
            mask = _time_major(batch.mask).to(room.logits.dtype)
        stats = loss.posteriors_and_stats(room.logits, ids, mask, room.error, deferred=deferred)
        loss.to_error_(room.error, ids, mask)
        self._ends.above_(room.error)
        updater.begin(self._params, rate, room.products, stats.frames)
        begin = len(room.layers[-1].outer) - len(room.error)
        room.layers[-1].outer[:begin].zero_()
        room.products.multiply(room.error, self._output[:, :-1], room.layers[-1].outer[begin:])
        updater.layer_(self._places["output"], room.x, room.error)
        margin, left = self.options.backprop_margin, self.options.left_context
        first = 0 if margin is None else max(0, left - margin)
        for index in reversed(range(len(self.layers))):
            self._layer_back(index, room, held, first, drawn is not None, updater)
        return stats._replace(limited=updater.finish_())

    def evaluate(self, batch: Batch) -> StepStats:
        """Return objective and accuracy of a minibatch of chunks, without dropout and without an update."""
        room = self._room(self.options.times, len(batch.x))
        self._forward(batch, room, self._plain)
        mask = None if batch.mask is None else _time_major(batch.mask)
        return loss.posteriors_and_stats(room.logits, _time_major(batch.ids), mask, room.error)

    def chunk_log_posteriors(self, batch: Batch) -> Tensor:
        """Return log p(pdf | frame) [N, width, num_pdfs] of the labelled frames of chunks."""
        room = self._room(self.options.times, len(batch.x))
        self._forward(batch, room, self._plain)
        found = torch.log_softmax(room.logits, dim=1)
        return found.view(self.options.chunk, len(batch.x), -1).transpose(0, 1).contiguous()

    def folded(self, params: Tensor) -> Tensor:
        """Return the vector [P] of the network that says the same without constants."""
        return self._ends.folded(self.layout, params)

    def log_posteriors(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame) [T, num_pdfs] of a whole utterance [T, feature_dim], from a state of zero.

        The last frame is repeated for the delay. The utterance is computed piece by piece with the state carried over.
        """
        assert self._params is not None
        delay, frames = self.options.label_delay, frames.to(self._params)
        found = self._params.new_empty(len(frames) + delay, self.num_pdfs)
        room = self._room(PIECE, 1, PIECE)
        for begin in range(0, len(found) if len(frames) else 0, PIECE):
            end = min(begin + PIECE, len(found))
            places = torch.arange(begin, end, device=frames.device)
            room.raw[: end - begin].copy_(spliced(frames, self.options.splice, at=places))
            room.raw[end - begin :].zero_()  # of the last piece alone: nothing comes after it
            self._through(room, self._plain, None, None, carry=begin > 0)
            found[begin:end] = torch.log_softmax(room.logits[: end - begin], dim=1)
        return found[delay:] if len(frames) else found[:0]

    def module(self) -> nn.Module:
        """Return a differentiable module with a copy of the bound parameters."""
        assert self._params is not None
        return LstmModule(self.options, flat.views(self.layout, self.folded(self._params)))

    def _forward(
        self,
        batch: Batch,
        room: Rooms,
        products: Products,
        generator: torch.Generator | None = None,
        deferred: bool = False,
    ) -> Tensor | None:
        """Fill `room` up to the logits; return what holds the state before utterances."""
        inputs = room.raw.unflatten(0, (room.times, room.chunks)).transpose(0, 1)  # [chunks, times, input_dim]
        width = sum(self.options.splice) + 1
        inputs.unflatten(2, (width, self.feature_dim)).copy_(batch.x.unfold(1, width, 1).transpose(2, 3))
        held = None
        if batch.before is not None:
            before = batch.before.to(inputs.device) - self.options.splice[0]
            longest = self.options.left_context if deferred else min(int(before.max()), room.times)
            if longest > 0:
                times = torch.arange(longest, device=inputs.device)[:, None]
                held = (times >= before).to(inputs.dtype)[:, :, None]
        self._through(room, products, held, generator, carry=False)
        return held

    def _through(
        self, room: Rooms, products: Products, held: Tensor | None, generator: torch.Generator | None, carry: bool
    ) -> None:
        if room.raw is not room.inputs:
            self._ends.below_(room.raw, room.inputs)
        for index, (layer, own) in enumerate(zip(self.layers, room.layers, strict=True)):
            up = layer.forward(own, products, held, carry)
            if index + 1 == len(self.layers):
                room.x[:, :-1].copy_(up[len(up) - len(room.x) :])
                break
            above = room.layers[index + 1].x[: len(up), : up.shape[1]]
            above.copy_(up)
            if generator is not None:
                mask = room.masks[index]
                activation.dropout_mask_(mask, room.draws, self.options.dropout, generator)
                above.mul_(mask)
        room.x[:, -1] = 1.0
        products.multiply(room.x, self._output.t(), room.logits)
        self._ends.above_(room.logits)

    def _layer_back(
        self, index: int, room: Rooms, held: Tensor | None, first: int, dropped: bool, updater: Updater
    ) -> None:
        """Take the derivative down through a layer, then hand its components to the updater, which may overwrite."""
        layer, own, name = self.layers[index], room.layers[index], f"lstm{index + 1}"
        layer.backward(own, first, -self.options.left_context, held)
        if index > 0:
            below = room.layers[index - 1].outer
            layer.down(own, below, first)
            if dropped:
                below.mul_(room.masks[index - 1])
        begin, rows = first * own.chunks, own.times * own.chunks
        if self.options.peepholes:
            for part in range(3):
                products = layer.peephole_rows(own, part, first)
                updater.rows_(self._places[f"{name}.peepholes"], part, products)
        updater.layer_(self._places[f"{name}.gates"], own.x[begin:rows], own.gates[begin:])
        if self.options.projection is not None:
            updater.layer_(self._places[f"{name}.projection"], own.m[begin:], own.outer[begin:])

    def _room(self, times: int, chunks: int, labelled: int | None = None) -> Rooms:
        if self._params is None:
            raise ValueError("bind a parameter vector first")
        key = times, chunks, self.options.chunk if labelled is None else labelled
        if key not in self._rooms:
            self._rooms[key] = Rooms(
                self.layers,
                self.options,
                (self.feature_dim, self.num_pdfs),
                key,
                self._params,
                raw=self._ends.transforms,
                precision=self._precision,
            )
            if len(self._rooms) > _KEPT_ROOMS:
                self._rooms.popitem(last=False)
        self._rooms.move_to_end(key)
        return self._rooms[key]


def _time_major(values: Tensor) -> Tensor:
    """Return [N, T] as a vector in the order of the rows."""
    return values.t().reshape(-1)


def make(
    options: LstmOptions, feature_dim: int, num_pdfs: int, precision: Precision, constants: Mapping[str, Tensor]
) -> Lstm:
    """Return the network; see `nn.network.make`."""
    return Lstm(options, feature_dim, num_pdfs, precision, constants)
