"""A stack of LSTM layers with a softmax on top, trained on chunks of utterances (docs/mathematics.md 2.5).

A chunk of `width` labelled frames is computed over left + width + delay frames: the first `left` only warm up the
state, and the label of a frame is read from the output `delay` frames later. The rows of each layer are those of all
times together, so each component sees one product and one call of natural gradient a minibatch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Entry, Layout
from unisono.core.number import Number
from unisono.core.products import Products
from unisono.core.updater import Updater
from unisono.errors import UserError
from unisono.nn import activation, loss
from unisono.nn.batch import Batch, StepStats
from unisono.nn.lstm_layer import LstmLayer, Room, Shape, Truncation

PIECE = 512  # frames of a whole utterance that are computed at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class LstmOptions:
    """Shape and passes of the network.

    cells: of each layer. projection: (recurrent, nonrecurrent) widths, or None. peepholes: whether there are any.
    left: frames before a chunk. width: labelled frames of a chunk. delay: from a frame to the output of its label.
    margin: rows more than so many frames before the chunk get no derivative; None = all do. dropout: between layers.
    """

    cells: tuple[int, ...]
    projection: tuple[int, int] | None = None
    peepholes: bool = True
    left: int = 40
    width: int = 20
    delay: int = 5
    margin: int | None = 8
    dropout: float = 0.0
    truncation: Truncation = Truncation()

    def __post_init__(self) -> None:
        if not self.cells or min(self.cells) < 1:
            raise UserError(f"network.cells: {list(self.cells)}: give the cells of each layer, 1 or more")
        if self.projection is not None and (self.projection[0] < 1 or self.projection[1] < 0):
            raise UserError(
                f"network.projection: {list(self.projection)}: recurrent part 1 or more, the other 0 or more"
            )
        if self.width < 1 or self.left < 0 or self.delay < 0 or (self.margin is not None and self.margin < 0):
            raise UserError("network: chunk must be 1 or more; left_context, label_delay and margin 0 or more")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"network.dropout: {self.dropout}: give a share from 0 to below 1")

    def times(self) -> int:
        """Return the frames over which a chunk is computed."""
        return self.left + self.width + self.delay


class _Rooms:
    """Work space of all layers for `times` times and `chunks` chunks, the last `labelled` times read by the softmax."""

    def __init__(self, net: "Lstm", times: int, chunks: int, labelled: int, like: Tensor) -> None:
        self.times, self.chunks = times, chunks
        self.layers = [Room(layer.shape, times, chunks, like) for layer in net.layers]
        rows, width = labelled * chunks, net.layers[-1].shape.outputs()
        self.x = flat.matrix(rows, width + 1, like)
        self.logits, self.error = flat.matrix(rows, net.num_pdfs, like), flat.matrix(rows, net.num_pdfs, like)
        widths = [layer.shape.outputs() for layer in net.layers[:-1]] if net.options.dropout > 0.0 else []
        self.masks = [flat.matrix(times * chunks, width, like) for width in widths]
        draws = activation.room_for_draws(times * chunks, max(widths, default=0))
        self.draws = like.new_empty(draws, dtype=torch.int64)


class Lstm:
    """LSTM layers named lstm1, lstm2, ... and an output layer.

    Matrices: lstm<l>.gates [4 cells, in + rec + 1], four blocks i, f, o, c; lstm<l>.peepholes [3, cells], three blocks
    i, f, o; lstm<l>.projection; output. `bind` says which flat vector is trained; its dtype is that of everything.
    """

    def __init__(self, options: LstmOptions, input_dim: int, num_pdfs: int) -> None:
        self.options = options
        self.input_dim = input_dim
        self.num_pdfs = num_pdfs
        self.layers: list[LstmLayer] = []
        recurrent, nonrecurrent = options.projection or (0, 0)
        inputs, entries = input_dim, []
        for number, cells in enumerate(options.cells, start=1):
            shape, name = Shape(inputs, cells, recurrent, nonrecurrent), f"lstm{number}"
            entries.append(Entry(f"{name}.gates", (4 * cells, inputs + shape.fed_back() + 1), blocks=4))
            if options.peepholes:
                entries.append(Entry(f"{name}.peepholes", (3, cells), bias=False, blocks=3))
            if recurrent:
                entries.append(Entry(f"{name}.projection", (shape.outputs(), cells + 1)))
            self.layers.append(LstmLayer(shape, options.truncation))
            inputs = shape.outputs()
        entries.append(Entry("output", (num_pdfs, inputs + 1)))
        self.layout: Layout = flat.make_layout(entries)
        self._places = {name: place for place, name in enumerate(self.layout.names)}
        self._products = Products()
        self._params: Tensor | None = None
        self._rooms: dict[tuple[int, int], _Rooms] = {}

    def initial_parameters(self, generator: torch.Generator, forget_bias: float = 0.0) -> Tensor:
        """Return random parameters [P], float32: weights N(0, 1 / inputs), all else and the output layer 0."""
        params = flat.zeros(self.layout.size)
        for name, matrix in flat.views(self.layout, params).items():
            if name == "output" or name.endswith("peepholes"):
                continue
            inputs = matrix.shape[1] - 1
            matrix[:, :-1] = torch.randn(len(matrix), inputs, generator=generator) * inputs**-0.5
            if name.endswith("gates"):
                matrix[len(matrix) // 4 : len(matrix) // 2, -1] = forget_bias
        return params

    def bind(self, params: Tensor) -> None:
        """Train and evaluate the vector `params` [P] from now on; it is changed in place."""
        if self._params is None or params.dtype != self._params.dtype or params.device != self._params.device:
            self._rooms = {}
        self._params = params
        views = flat.views(self.layout, params)
        for number, layer in enumerate(self.layers, start=1):
            name = f"lstm{number}"
            layer.bind(views[f"{name}.gates"], views.get(f"{name}.peepholes"), views.get(f"{name}.projection"))
        self._output = views["output"]

    def input_buffer(self, chunks: int) -> Tensor:
        """Return [chunks, times, input_dim], the place of a minibatch's x: fill it and pass it."""
        return self._inputs(self._room(self.options.times(), chunks))

    def step_(
        self, batch: Batch, optimiser: Updater, rate: Number, generator: torch.Generator | None = None
    ) -> StepStats:
        """Train on one minibatch of chunks, in place, with `rate` per gradient summed over the counted frames.

        batch: x [N, left + width + delay, input_dim]; ids and mask [N, width]; before [N]: frames of x that lie before
        the utterance, during which state and output are held at zero. Returns the objective before the update.
        """
        if self.options.dropout > 0.0 and generator is None:
            raise ValueError("dropout needs a generator")
        assert self._params is not None
        room = self._room(self.options.times(), len(batch.x))
        drawn = generator if self.options.dropout > 0.0 else None
        held = self._forward(batch, room, drawn)
        ids, mask = (
            _time_major(batch.ids),
            None if batch.mask is None else _time_major(batch.mask).to(room.logits.dtype),
        )
        stats = loss.posteriors_and_stats(room.logits, ids, mask, room.error, deferred=isinstance(rate, Tensor))
        loss.to_error_(room.error, ids, mask)
        self._products.begin()
        optimiser.begin(self._params, rate, self._products, stats.frames)
        begin = len(room.layers[-1].outer) - len(room.error)
        room.layers[-1].outer[:begin].zero_()
        torch.mm(room.error, self._output[:, :-1], out=room.layers[-1].outer[begin:])
        optimiser.layer_(self._places["output"], room.x, room.error)
        first = 0 if self.options.margin is None else max(0, self.options.left - self.options.margin)
        for index in reversed(range(len(self.layers))):
            self._layer_back(index, room, held, first, drawn is not None, optimiser)
        return stats._replace(limited=optimiser.finish_())

    def evaluate(self, batch: Batch) -> StepStats:
        """Return objective and accuracy of a minibatch of chunks, without dropout and without an update."""
        room = self._room(self.options.times(), len(batch.x))
        self._forward(batch, room, None)
        mask = None if batch.mask is None else _time_major(batch.mask)
        return loss.posteriors_and_stats(room.logits, _time_major(batch.ids), mask, room.error)

    def chunk_log_posteriors(self, batch: Batch) -> Tensor:
        """Return log p(pdf | frame) [N, width, num_pdfs] of the labelled frames of chunks."""
        room = self._room(self.options.times(), len(batch.x))
        self._forward(batch, room, None)
        found = torch.log_softmax(room.logits, dim=1)
        return found.view(self.options.width, len(batch.x), -1).transpose(0, 1).contiguous()

    def log_posteriors(self, x: Tensor) -> Tensor:
        """Return log p(pdf | frame) [T, num_pdfs] of a whole utterance x [T, input_dim], from a state of zero.

        The last frame is repeated for the delay. The utterance is computed piece by piece with the state carried over.
        """
        delay, found, carry = self.options.delay, [], False
        padded = torch.cat([x, x[-1:].expand(delay, -1)])
        for begin in range(0, len(padded), PIECE):
            piece = padded[begin : begin + PIECE]
            room = self._room(PIECE, 1, PIECE)
            below = room.layers[0].x[:PIECE, : self.input_dim]
            below[: len(piece)].copy_(piece)
            below[len(piece) :].zero_()  # of the last piece alone: nothing comes after it
            self._through(room, None, None, carry)
            found.append(torch.log_softmax(room.logits[: len(piece)], dim=1))
            carry = True
        return torch.cat(found)[delay:]

    def _forward(self, batch: Batch, room: _Rooms, generator: torch.Generator | None) -> Tensor | None:
        """Fill `room` up to the logits; return what holds the state before utterances."""
        inputs = self._inputs(room)
        if batch.x.data_ptr() != inputs.data_ptr():
            inputs.copy_(batch.x)
        held = None
        if batch.before is not None and (longest := int(batch.before.max())) > 0:
            times = torch.arange(longest, device=inputs.device)[:, None]
            held = (times >= batch.before.to(inputs.device)).to(inputs.dtype)[:, :, None]
        self._through(room, held, generator, carry=False)
        return held

    def _through(self, room: _Rooms, held: Tensor | None, generator: torch.Generator | None, carry: bool) -> None:
        for index, (layer, own) in enumerate(zip(self.layers, room.layers, strict=True)):
            up = layer.forward(own, held, carry)
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
        torch.mm(room.x, self._output.t(), out=room.logits)

    def _layer_back(
        self, index: int, room: _Rooms, held: Tensor | None, first: int, dropped: bool, optimiser: Updater
    ) -> None:
        """Take the derivative down through a layer, then hand its components to the optimiser, which may overwrite."""
        layer, own, name = self.layers[index], room.layers[index], f"lstm{index + 1}"
        layer.backward(own, first, -self.options.left, held)
        if index > 0:
            below = room.layers[index - 1].outer
            layer.down(own, below, first)
            if dropped:
                below.mul_(room.masks[index - 1])
        begin, rows = first * own.chunks, own.times * own.chunks
        if self.options.peepholes:
            for part in range(3):
                products = layer.peephole_rows(own, part, first)
                optimiser.rows_(self._places[f"{name}.peepholes"], part, products)
        optimiser.layer_(self._places[f"{name}.gates"], own.x[begin:rows], own.gates[begin:])
        if self.options.projection is not None:
            optimiser.layer_(self._places[f"{name}.projection"], own.m[begin:], own.outer[begin:])

    def _inputs(self, room: _Rooms) -> Tensor:
        own = room.layers[0].x[: room.times * room.chunks, : self.input_dim]
        return own.unflatten(0, (room.times, room.chunks)).transpose(0, 1)

    def _room(self, times: int, chunks: int, labelled: int | None = None) -> _Rooms:
        if self._params is None:
            raise ValueError("bind a parameter vector first")
        if (times, chunks) not in self._rooms:
            count = self.options.width if labelled is None else labelled
            self._rooms[times, chunks] = _Rooms(self, times, chunks, count, self._params)
        return self._rooms[times, chunks]


def _time_major(values: Tensor) -> Tensor:
    """Return [N, T] as a vector in the order of the rows."""
    return values.t().reshape(-1)
