"""One flat vector and the table that says how to cut it into matrices.

Parameters, momentum and averages are each one vector; the networks and rules work on views of it. In memory every
matrix starts on a 64-byte border and its rows are padded to 16 numbers, which keeps matrix products at full speed; the
padding is zero and stays zero. Files are free of it: there a matrix [W b] is a dense "<name>.weight" and "<name>.bias",
one without a bias a "<name>.weight" alone.

A matrix may consist of blocks of equally many rows that are components of their own, such as the gates of an LSTM,
which share their input. Limits on a step and weights of a combination are a component's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from unisono.errors import UserError

ALIGNMENT = 16  # numbers; 64 bytes of float32


@dataclass(frozen=True)
class Entry:
    """One matrix of a layout, and all that those who train it must know of it.

    shape: rows (outputs) and columns (inputs, and one more where there is a bias).
    bias: whether the last column is a bias, which L2 leaves alone.
    blocks: of how many components it is made.
    gradient: how it comes. sides: as inputs and derivatives at the outputs, each with estimators of its own; rows: as
        one row per frame for each block, a vector that acts element by element.
    is_output: whether max-change and initialisation have settings of their own for it.
    gain: standard deviation of initial weights times the root of their inputs, where the config names none.
    added: what is added to the initial biases of each block. A layout is the same whatever it starts from.
    """

    name: str
    shape: tuple[int, int]
    bias: bool = True
    blocks: int = 1
    gradient: Literal["sides", "rows"] = "sides"
    is_output: bool = False
    gain: float = field(default=1.0, compare=False)
    added: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Layout:
    """How a flat vector is cut into matrices. Numbers are counted, not bytes.

    entries: the matrices, in their order; names are unique.
    offsets: where each starts, a multiple of 16.
    strides: distance between rows, the columns rounded up to a multiple of 16.
    size: length P of the vector, padding included.
    """

    entries: tuple[Entry, ...]
    offsets: tuple[int, ...]
    strides: tuple[int, ...]
    size: int

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the matrices."""
        return tuple(entry.name for entry in self.entries)

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each matrix."""
        return tuple(entry.shape for entry in self.entries)

    def parameters(self) -> int:
        """Return the number of parameters without padding."""
        return sum(rows * columns for rows, columns in self.shapes)

    def components(self) -> list[Entry]:
        """Return the matrix of each component: blocks of all matrices."""
        return [entry for entry in self.entries for _ in range(entry.blocks)]


def padded(columns: int) -> int:
    """Return `columns` rounded up to the row stride of a matrix (a multiple of 16)."""
    return -(-columns // ALIGNMENT) * ALIGNMENT


def make_layout(entries: Sequence[Entry | tuple[str, tuple[int, int]]]) -> Layout:
    """Lay matrices one behind the other; an entry of (name, (rows, columns)) has a bias and one block.

    Raises ValueError for a repeated name, a shape that is not positive, rows that the blocks do not share evenly, or a
    gradient of one row per frame where a block is not one row without a bias.
    """
    table = [entry if isinstance(entry, Entry) else Entry(*entry) for entry in entries]
    names = [entry.name for entry in table]
    if len(set(names)) != len(names):
        raise ValueError(f"names of a layout must be unique: {names}")
    offsets, strides, size = [], [], 0
    for entry in table:
        _check(entry)
        rows, columns = entry.shape
        offsets.append(size)
        strides.append(padded(columns))
        size += rows * strides[-1]
    return Layout(tuple(table), tuple(offsets), tuple(strides), size)


def _check(entry: Entry) -> None:
    name, (rows, columns), blocks = entry.name, entry.shape, entry.blocks
    if rows < 1 or columns < 1 + entry.bias:
        wanted = "two columns (an input and the bias)" if entry.bias else "a column"
        raise ValueError(f"{name}: a matrix needs a row and {wanted}: {rows} x {columns}")
    if blocks < 1 or rows % blocks:
        raise ValueError(f"{name}: {rows} rows do not make {blocks} blocks")
    if entry.gradient == "rows" and (entry.bias or rows != blocks):
        raise ValueError(f"{name}: a gradient of rows needs a block for each row, without a bias")


def zeros(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a vector [size] of zeros on the CPU that starts on a 64-byte border."""
    vector = torch.zeros(size + ALIGNMENT, dtype=dtype)
    skip = -vector.data_ptr() % 64 // vector.element_size()
    return vector[skip : skip + size]


def matrix(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return zeros [rows, columns] stored as in a layout (aligned, padded), with dtype and device of `like`."""
    stride = padded(columns)
    return zeros(rows * stride, like.dtype).to(like.device).view(rows, stride)[:, :columns]


def wants_whole_rows(matrix: Tensor) -> bool:
    """Say whether work on padded rows is faster where a matrix lies."""
    return matrix.is_cuda


def whole(matrix: Tensor) -> Tensor:
    """Return a matrix on a GPU with the padding of its rows, a CPU's as it is.

    A GPU reads whole rows faster than views that end before the padding; there the padding is worth its products.
    """
    if not wants_whole_rows(matrix) or matrix.stride() == (matrix.shape[1], 1):
        return matrix
    return matrix.as_strided((matrix.shape[0], matrix.stride(0)), (matrix.stride(0), 1))


def views(layout: Layout, flat: Tensor) -> dict[str, Tensor]:
    """Return the matrices [rows, columns] of `flat` [P] by name, without a copy. Writing to them writes to `flat`."""
    if flat.shape != (layout.size,):
        raise ValueError(f"expected a vector of {layout.size}, found {tuple(flat.shape)}")
    parts = zip(layout.names, layout.shapes, layout.offsets, layout.strides, strict=True)
    return {
        name: flat[offset : offset + shape[0] * stride].view(shape[0], stride)[:, : shape[1]]
        for name, shape, offset, stride in parts
    }


def segments(layout: Layout, flat: Tensor) -> list[Tensor]:
    """Return each component's stretch of `flat` as a vector, padding included: for norms and sums without strides."""
    ends = [*layout.offsets[1:], layout.size]
    return [
        part
        for begin, end, entry in zip(layout.offsets, ends, layout.entries, strict=True)
        for part in flat[begin:end].chunk(entry.blocks)
    ]


def carried_over(old: Layout, new: Layout, vector: Tensor, fresh: Tensor) -> Tensor:
    """Return a copy of `fresh` [P new] in which every matrix that both layouts have is that of `vector` [P old].

    The same matrix has the same name and the same shape. Where the layouts are equal this is `vector`.
    """
    result = zeros(new.size, fresh.dtype).copy_(fresh)
    known = views(old, vector)
    for name, matrix in views(new, result).items():
        if name in known and known[name].shape == matrix.shape:
            matrix.copy_(known[name])
    return result


def to_tensors(layout: Layout, flat: Tensor) -> dict[str, Tensor]:
    """Return the file form: dense "<name>.weight" [rows, inputs] and, where there is one, "<name>.bias" [rows]."""
    matrices = zip(layout.entries, views(layout, flat).values(), strict=True)
    return {name: part.contiguous() for entry, view in matrices for name, part in _parts(entry, view).items()}


def _parts(entry: Entry, matrix: Tensor) -> dict[str, Tensor]:
    """Return the tensors of the file form as views of a matrix."""
    if not entry.bias:
        return {f"{entry.name}.weight": matrix}
    return {f"{entry.name}.weight": matrix[:, :-1], f"{entry.name}.bias": matrix[:, -1]}


def from_tensors(layout: Layout, tensors: Mapping[str, Tensor], where: str = "model") -> Tensor:
    """Return the flat vector [P], float32, of tensors in the file form; the inverse of `to_tensors`.

    Raises UserError with `where` and the tensor's name if one is missing, has another shape or is not float32 (float64
    is taken too, for comparisons in double precision; the vector is then float64).
    """
    dtype = next((tensor.dtype for tensor in tensors.values()), torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"{where}: numbers are {dtype}, expected float32: this file was not written by unisono")
    flat = zeros(layout.size, dtype)
    for entry, matrix in zip(layout.entries, views(layout, flat).values(), strict=True):
        for part, target in _parts(entry, matrix).items():
            tensor = tensors.get(part)
            if tensor is None:
                raise UserError(f"{where}: tensor {part} is missing: the file is of another network")
            if tensor.shape != target.shape or tensor.dtype != dtype:
                raise UserError(
                    f"{where}: tensor {part} is {tensor.dtype} {list(tensor.shape)}, expected {dtype} "
                    f"{list(target.shape)}: the file is of another network"
                )
            target.copy_(tensor)
    return flat
