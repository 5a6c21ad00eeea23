"""One flat vector and the table that says how to cut it into matrices.

Parameters, momentum and averages are each one vector; the networks and rules work on views of it. In memory every
matrix starts on a 64-byte border and its rows are padded to 16 numbers, which keeps matrix products at full speed; the
padding is zero and stays zero. Files are free of it: there a matrix [W b] is a dense "<name>.weight" and "<name>.bias".
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.errors import UserError

ALIGNMENT = 16  # numbers; 64 bytes of float32


class Layout(NamedTuple):
    """How a flat vector is cut into matrices. All fields are in numbers, not bytes.

    names: one per matrix, unique.
    shapes: rows (outputs) and columns (inputs + 1; the last column is the bias).
    offsets: where each matrix starts, a multiple of 16.
    strides: distance between rows, the columns rounded up to a multiple of 16.
    size: length P of the vector, padding included.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    strides: tuple[int, ...]
    size: int

    def parameters(self) -> int:
        """Return the number of parameters without padding."""
        return sum(rows * columns for rows, columns in self.shapes)


def padded(columns: int) -> int:
    """Return `columns` rounded up to the row stride of a matrix (a multiple of 16)."""
    return -(-columns // ALIGNMENT) * ALIGNMENT


def make_layout(entries: Sequence[tuple[str, tuple[int, int]]]) -> Layout:
    """Lay matrices one behind the other; `entries` are (name, (rows, columns)).

    Raises ValueError for a repeated name or a shape that is not positive.
    """
    names = tuple(name for name, _ in entries)
    if len(set(names)) != len(names):
        raise ValueError(f"names of a layout must be unique: {names}")
    offsets, strides, size = [], [], 0
    for name, (rows, columns) in entries:
        if rows < 1 or columns < 2:
            raise ValueError(
                f"{name}: a matrix needs a row and two columns (an input and the bias): {rows} x {columns}"
            )
        offsets.append(size)
        strides.append(padded(columns))
        size += rows * strides[-1]
    shapes = tuple((rows, columns) for _, (rows, columns) in entries)
    return Layout(names, shapes, tuple(offsets), tuple(strides), size)


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
    """Return each matrix's stretch of `flat` as a vector, padding included: for norms and sums without strides."""
    ends = [*layout.offsets[1:], layout.size]
    return [flat[begin:end] for begin, end in zip(layout.offsets, ends, strict=True)]


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
    """Return the file form: dense "<name>.weight" [rows, columns - 1] and "<name>.bias" [rows]."""
    tensors = {}
    for name, matrix in views(layout, flat).items():
        tensors[f"{name}.weight"] = matrix[:, :-1].contiguous()
        tensors[f"{name}.bias"] = matrix[:, -1].contiguous()
    return tensors


def from_tensors(layout: Layout, tensors: Mapping[str, Tensor], where: str = "model") -> Tensor:
    """Return the flat vector [P], float32, of tensors in the file form; the inverse of `to_tensors`.

    Raises UserError with `where` and the tensor's name if one is missing, has another shape or is not float32 (float64
    is taken too, for comparisons in double precision; the vector is then float64).
    """
    dtype = next((tensor.dtype for tensor in tensors.values()), torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"{where}: numbers are {dtype}, expected float32: this file was not written by unisono")
    flat = zeros(layout.size, dtype)
    for name, matrix in views(layout, flat).items():
        for part, target in ((f"{name}.weight", matrix[:, :-1]), (f"{name}.bias", matrix[:, -1])):
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
