"""The widths and matrices of a stack of LSTM layers, and what they start from."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.config.network import Drawn, LstmOptions
from unisono.core import flat
from unisono.core.flat import Entry, Layout
from unisono.errors import UserError


class Truncation(NamedTuple):
    """clip and zero: norms above which a derivative is shortened or, at intervals, zeroed; 0 = off. scale: s."""

    clip: float = 30.0
    zero: float = 15.0
    interval: int = 20
    scale: float = 1.0

    def acts(self) -> bool:
        """Say whether derivatives are touched at all."""
        return self.clip > 0.0 or self.zero > 0.0


class Shape(NamedTuple):
    """Widths of a layer. recurrent and nonrecurrent: parts of the projection; both 0 where there is none."""

    inputs: int
    cells: int
    recurrent: int = 0
    nonrecurrent: int = 0

    def fed_back(self) -> int:
        """Return the width of r."""
        return self.recurrent or self.cells

    def outputs(self) -> int:
        """Return the width of what the layer hands up."""
        return self.recurrent + self.nonrecurrent if self.recurrent else self.cells


def shapes_of(options: LstmOptions, inputs: int) -> list[Shape]:
    """Return the widths of each layer. Raises UserError for what a damaged model file may say."""
    recurrent, rest = options.projection or (0, 0)
    smallest = min([*options.cells, options.chunk, recurrent if options.projection else 1], default=0)
    if not options.cells or smallest < 1 or min(rest, *options.splice, *options.unit) < 0:
        raise UserError(
            f"network: cells {list(options.cells)}, projection {options.projection}, {options.unit.name}: give cells,"
            " recurrent width and chunk of 1 or more, and contexts of 0 or more frames"
        )
    shapes = []
    for cells in options.cells:
        shapes.append(Shape(inputs, cells, recurrent, rest))
        inputs = shapes[-1].outputs()
    return shapes


def truncation_of(options: LstmOptions) -> Truncation:
    """Return what is done to derivatives on their way back, and the decay."""
    scale = 1.0 if options.decay_time is None else 1.0 - 1.0 / options.decay_time
    return Truncation(options.clip, options.zeroing, options.zeroing_interval, scale)


def entries_of(options: LstmOptions, shapes: Sequence[Shape], num_pdfs: int) -> list[Entry]:
    """Return the matrices of the layers, and of the output on top; what they are stands in `nn.lstm.Lstm`."""
    entries = list[Entry]()
    for number, shape in enumerate(shapes, start=1):
        name, columns = f"lstm{number}", shape.inputs + shape.fed_back() + 1
        entries.append(Entry(f"{name}.gates", (4 * shape.cells, columns), blocks=4))
        if options.peepholes:
            entries.append(Entry(f"{name}.peepholes", (3, shape.cells), bias=False, blocks=3))
        if shape.recurrent:
            entries.append(Entry(f"{name}.projection", (shape.outputs(), shape.cells + 1)))
    return [*entries, Entry("output", (num_pdfs, shapes[-1].outputs() + 1))]


def random_parameters(layout: Layout, network: LstmOptions, start: Drawn, generator: torch.Generator) -> Tensor:
    """Return parameters [P], float32: weights N(0, gain² / inputs), gain 1 unless `start` says another.

    Biases and peepholes are 0 or drawn with `bias_stddev`; those of the output layer are 0.
    """
    params = flat.zeros(layout.size)
    hidden = 1.0 if start.hidden_gain is None else start.hidden_gain
    for name, matrix in flat.views(layout, params).items():
        rows, inputs, is_output = len(matrix), matrix.shape[1] - 1, name == layout.names[-1]
        if name.endswith("peepholes"):
            if start.bias_stddev > 0.0:
                matrix.copy_(torch.randn(matrix.shape, generator=generator) * start.bias_stddev)
            continue
        gain = start.output_gain if is_output else hidden
        matrix[:, :-1] = torch.randn(rows, inputs, generator=generator) * (gain * inputs**-0.5)
        if start.bias_stddev > 0.0 and not is_output:
            matrix[:, -1] = torch.randn(rows, generator=generator) * start.bias_stddev
        if name.endswith("gates"):
            matrix[rows // 4 : rows // 2, -1].add_(network.forget_bias)
    return params
