"""Files of tensors that pass between iterations: safetensors with one metadata key, written atomically.

`{i}.combine.safetensors`, `{i}.{job}.model.safetensors` and `{i}.{job}.state.safetensors` hold flat vectors as they
stand in memory (padding included, see `core.flat`); only final models are free of it. The metadata key `unisono` is a
JSON object with `format` "unisono.tensors/1", `kind`, `iteration` and `layout`, a digest of names and shapes.
"""

import hashlib
import json
import os
from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError
from unisono.files import atomic_path

FORMAT = "unisono.tensors/1"


def layout_digest(layout: Layout) -> str:
    """Return 16 hexadecimal digits that name a layout."""
    return hashlib.sha256(json.dumps([layout.names, layout.shapes]).encode()).hexdigest()[:16]


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], *, kind: str, iteration: int, layout: Layout
) -> None:
    """Write tensors atomically; equal tensors give equal bytes."""
    header = {"format": FORMAT, "kind": kind, "iteration": iteration, "layout": layout_digest(layout)}
    ready = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(ready, temporary, metadata={"unisono": json.dumps(header, sort_keys=True)})


class TensorFile:
    """A file of tensors opened for reading, one tensor at a time.

    Raises UserError where it is missing, damaged, of another kind or of another layout.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str, layout: Layout) -> None:
        self.path, self._layout = path, layout
        try:
            self._file = safetensors.safe_open(path, framework="pt")
            header = json.loads((self._file.metadata() or {})["unisono"])
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

    @property
    def names(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._file.keys())

    def get(self, name: str) -> Tensor:
        """Return a tensor of one's own; flat vectors [P] come on a 64-byte border."""
        if name not in self.names:
            raise UserError(f"{self.path}: no tensor {name!r}: delete it and run the stage that makes it")
        tensor = self._file.get_tensor(name)
        if tensor.shape == (self._layout.size,) and tensor.dtype in (torch.float32, torch.float64):
            return flat.zeros(self._layout.size, tensor.dtype).copy_(tensor)
        return tensor.clone()

    def all(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {name: self.get(name) for name in self.names}
