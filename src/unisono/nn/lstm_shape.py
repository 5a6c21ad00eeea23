"""The widths and matrices of a stack of LSTM layers."""

from collections.abc import Sequence
from typing import NamedTuple

from unisono.config.network import LstmOptions
from unisono.core.flat import Entry
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
        added = (0.0, options.forget_bias, 0.0, 0.0)
        entries.append(Entry(f"{name}.gates", (4 * shape.cells, columns), blocks=4, added=added))
        if options.peepholes:
            entries.append(Entry(f"{name}.peepholes", (3, shape.cells), bias=False, blocks=3, gradient="rows"))
        if shape.recurrent:
            entries.append(Entry(f"{name}.projection", (shape.outputs(), shape.cells + 1)))
    return [*entries, Entry("output", (num_pdfs, shapes[-1].outputs() + 1), is_output=True)]
