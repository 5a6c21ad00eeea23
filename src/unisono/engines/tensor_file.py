"""Files of tensors that pass between iterations: safetensors with one metadata key, written atomically.

`{i}.combine.safetensors`, `{i}.{job}.model.safetensors` and `{i}.{job}.state.safetensors` hold flat vectors as they
stand in memory (padding included, see `core.flat`); only final models are free of it. The metadata key `unisono` is a
JSON object with `format` "unisono.tensors/1", `kind`, `iteration` and `layout`, a digest of names and shapes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError
from unisono.files import atomic_path

FORMAT = "unisono.tensors/1"
_BORDER = 64  # bytes; data starts here
_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}


def layout_digest(layout: Layout) -> str:
    """Return 16 hexadecimal digits that name a layout."""
    return hashlib.sha256(json.dumps([layout.names, layout.shapes]).encode()).hexdigest()[:16]


class Later(NamedTuple):
    """A tensor that is formed when it is written, and then let go. like: any tensor of its shape and type."""

    like: Tensor
    form: Callable[[], Tensor]


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor | Later], *, kind: str, iteration: int, layout: Layout
) -> None:
    """Write tensors atomically, one after the other; equal tensors give equal bytes."""
    about = {"format": FORMAT, "kind": kind, "iteration": iteration, "layout": layout_digest(layout)}
    header: dict[str, Any] = {"__metadata__": {"unisono": json.dumps(about, sort_keys=True)}}
    known = {name: tensor.like if isinstance(tensor, Later) else tensor for name, tensor in tensors.items()}
    end, ordered = 0, sorted(known, key=lambda name: (-known[name].element_size(), name))
    for name in ordered:
        tensor = known[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _BORDER)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        # The library's own writer first copies all tensors into bytes: a memory of twice the vectors.
        file.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            tensor = tensors[name]
            whole = tensor.form() if isinstance(tensor, Later) else tensor
            file.write(whole.contiguous().reshape(-1).numpy().data.cast("B"))
            del whole  # before the next one is formed


class TensorFile:
    """A file of tensors for reading, one tensor at a time; `names` are theirs, sorted.

    Raises UserError where it is missing, damaged, of another kind or of another layout.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str, layout: Layout) -> None:
        self.path, self._layout = path, layout
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["unisono"])
                self.names = sorted(file.keys())
            self.iteration = int(header["iteration"])
            found = header["format"], header["kind"]
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: run the stage that makes it") from None
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not readable ({reason}): delete it and run the stage that makes it") from None
        if found != (FORMAT, kind):
            raise UserError(f"{path}: holds {found[1]!r} in format {found[0]!r}, expected {kind!r} in {FORMAT!r}")
        if header.get("layout") != layout_digest(layout):
            raise UserError(f"{path}: is of another network than the config: delete the run's folder and start anew")

    def look(self, name: str) -> Tensor:
        """Return a tensor that lives in the mapped file: to read once, not to keep."""
        if name not in self.names:
            raise UserError(f"{self.path}: no tensor {name!r}: delete it and run the stage that makes it")
        # Opened anew each time: pages that a mapping has touched count as ours until it is closed.
        with safetensors.safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name)

    def get(self, name: str) -> Tensor:
        """Return a tensor of one's own; flat vectors [P] come on a 64-byte border."""
        tensor = self.look(name)
        if tensor.shape == (self._layout.size,) and tensor.dtype in (torch.float32, torch.float64):
            return flat.zeros(self._layout.size, tensor.dtype).copy_(tensor)
        return tensor.clone()

    def all(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {name: self.get(name) for name in self.names}
