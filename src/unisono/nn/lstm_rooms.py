"""Work space of a stack of LSTM layers (`nn.lstm`): that of each layer, and what lies below and above them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unisono.config.network import LstmOptions
from unisono.core import flat
from unisono.core.products import Precision, Products
from unisono.nn import activation
from unisono.nn.batch import Batch
from unisono.nn.lstm_layer import LstmLayer, Room


class Rooms:
    """Work space of all layers for `times` times and `chunks` chunks, the last `labelled` times read by the softmax.

    inputs: [times chunks, input_dim], those of the first layer. raw: the spliced frames, in the same place unless they
    are transformed on their way there. x: what the softmax reads, with its column of ones.
    """

    def __init__(
        self,
        layers: Sequence[LstmLayer],
        options: LstmOptions,
        sizes: tuple[int, int],
        extent: tuple[int, int, int],
        like: Tensor,
        *,
        raw: bool,
        precision: Precision,
    ) -> None:
        """sizes: numbers of a frame, and pdfs. extent: times, chunks and labelled times. raw: whether transformed."""
        times, chunks, labelled = extent
        feature_dim, num_pdfs = sizes
        self.times, self.chunks = times, chunks
        self.products = Products(precision)  # its rounded copies are of this space, and go with it
        self.layers = [Room(layer.shape, times, chunks, like) for layer in layers]
        self.inputs = self.layers[0].x[: times * chunks, : layers[0].shape.inputs]
        self.raw = flat.matrix(times * chunks, layers[0].shape.inputs, like) if raw else self.inputs
        rows, width = labelled * chunks, layers[-1].shape.outputs()
        self.x = flat.matrix(rows, width + 1, like)
        self.logits, self.error = flat.matrix(rows, num_pdfs, like), flat.matrix(rows, num_pdfs, like)
        widths = [layer.shape.outputs() for layer in layers[:-1]] if options.dropout > 0.0 else []
        self.masks = [flat.matrix(times * chunks, width, like) for width in widths]
        draws = activation.room_for_draws(times * chunks, max(widths, default=0))
        self.draws = like.new_empty(draws, dtype=torch.int64)
        ids = torch.zeros(chunks, labelled, dtype=torch.int64, device=like.device)
        x = like.new_zeros(chunks, options.unit.frames, feature_dim)
        self.batch = Batch(x, ids, like.new_ones(chunks, labelled), ids.new_zeros(chunks))
