"""One flat vector and the table that says how to cut it into matrices.

Parameters, momentum and averages are each one vector; the networks and rules work on views of it. In memory every
matrix starts on a 64-byte border and its rows are padded to 16 numbers, which keeps matrix products at full speed; the
padding is zero and stays zero. Files are free of it: there a matrix [W b] is a dense "<name>.weight" and "<name>.bias",
one without a bias a "<name>.weight" alone.

A matrix may consist of blocks of equally many rows that are components of their own, such as the gates of an LSTM,
which share their input. Limits on a step and weights of a combination are a component's.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.errors import UserError

ALIGNMENT = 16  # numbers; 64 bytes of float32


class Entry(NamedTuple):
    """One matrix of a layout: (rows, columns), whether the last column is a bias, and of how many blocks it is made."""

    name: str
    shape: tuple[int, int]
    bias: bool = True
    blocks: int = 1


class Layout(NamedTuple):
    """How a flat vector is cut into matrices. All fields but the last are in numbers, not bytes.

    names: one per matrix, unique.
    shapes: rows (outputs) and columns (inputs, and one more where there is a bias).
    offsets: where each matrix starts, a multiple of 16.
    strides: distance between rows, the columns rounded up to a multiple of 16.
    size: length P of the vector, padding included.
    biases: whether the last column of a matrix is a bias.
    blocks: of how many components a matrix is made.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    strides: tuple[int, ...]
    size: int
    biases: tuple[bool, ...]
    blocks: tuple[int, ...]

    def parameters(self) -> int:
        """Return the number of parameters without padding."""
        return sum(rows * columns for rows, columns in self.shapes)

    def is_vector(self, index: int) -> bool:
        """Say whether a matrix is a stack of vectors that act element by element: no bias, each row a block."""
        return not self.biases[index] and self.shapes[index][0] == self.blocks[index]

    def components(self) -> int:
        """Return the number of components: blocks of all matrices."""
        return sum(self.blocks)


def padded(columns: int) -> int:
    """Return `columns` rounded up to the row stride of a matrix (a multiple of 16)."""
    return -(-columns // ALIGNMENT) * ALIGNMENT


def make_layout(entries: Sequence[Entry | tuple[str, tuple[int, int]]]) -> Layout:
    """Lay matrices one behind the other; an entry of (name, (rows, columns)) has a bias and one block.

    Raises ValueError for a repeated name, a shape that is not positive, or rows that the blocks do not share evenly.
    """
    table = [entry if isinstance(entry, Entry) else Entry(*entry) for entry in entries]
    names = tuple(entry.name for entry in table)
    if len(set(names)) != len(names):
        raise ValueError(f"names of a layout must be unique: {names}")
    offsets, strides, size = [], [], 0
    for name, (rows, columns), bias, blocks in table:
        if rows < 1 or columns < 1 + bias:
            wanted = "two columns (an input and the bias)" if bias else "a column"
            raise ValueError(f"{name}: a matrix needs a row and {wanted}: {rows} x {columns}")
        if blocks < 1 or rows % blocks:
            raise ValueError(f"{name}: {rows} rows do not make {blocks} blocks")
        offsets.append(size)
        strides.append(padded(columns))
        size += rows * strides[-1]
    shapes = tuple(entry.shape for entry in table)
    biases, parts = tuple(entry.bias for entry in table), tuple(entry.blocks for entry in table)
    return Layout(names, shapes, tuple(offsets), tuple(strides), size, biases, parts)


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
        for begin, end, blocks in zip(layout.offsets, ends, layout.blocks, strict=True)
        for part in flat[begin:end].chunk(blocks)
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
    matrices = zip(views(layout, flat).items(), layout.biases, strict=True)
    return {
        name: part.contiguous()
        for (matrix, view), bias in matrices
        for name, part in _parts(matrix, view, bias).items()
    }


def _parts(name: str, matrix: Tensor, bias: bool) -> dict[str, Tensor]:
    """Return the tensors of the file form as views of a matrix."""
    if not bias:
        return {f"{name}.weight": matrix}
    return {f"{name}.weight": matrix[:, :-1], f"{name}.bias": matrix[:, -1]}


def from_tensors(layout: Layout, tensors: Mapping[str, Tensor], where: str = "model") -> Tensor:
    """Return the flat vector [P], float32, of tensors in the file form; the inverse of `to_tensors`.

    Raises UserError with `where` and the tensor's name if one is missing, has another shape or is not float32 (float64
    is taken too, for comparisons in double precision; the vector is then float64).
    """
    dtype = next((tensor.dtype for tensor in tensors.values()), torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"{where}: numbers are {dtype}, expected float32: this file was not written by unisono")
    flat = zeros(layout.size, dtype)
    for (name, matrix), bias in zip(views(layout, flat).items(), layout.biases, strict=True):
        for part, target in _parts(name, matrix, bias).items():
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
