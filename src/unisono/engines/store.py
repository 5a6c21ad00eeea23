"""The one store of vectors: what lies between iterations in files or in memory, and who owns a vector.

A file is safetensors with one metadata key, written atomically; it holds flat vectors as they stand in memory (padding
included, see `core.flat`). The key `unisono` is JSON: `format` "unisono.tensors/1", `kind`, `iteration`, and `layout`,
a digest of names and shapes. The same files lie between two iterations of `jobs`, at the border of a block and in a
checkpoint (`Folder`).

`{i}.combine.safetensors` (kind `combine`): `model` W(t); `start`, from which workers go on; `start.<worker>`, where one
goes on from elsewhere (gossip); `rule.*`, `observer.*`; `best`, the best model so far; `optimiser.*`, which all workers
take over. What is absent equals the model.
`{i}.{worker}.state.safetensors` (kind `worker`): `optimiser.*`; `start` where it is the worker's own; what
`Worker.save` adds where a task is under way.

`view` lends a vector until the next call; `take` gives it away: it is the caller's, and the store's no more.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError
from unisono.files import atomic_path

PathLike = str | os.PathLike[str]
FORMAT = "unisono.tensors/1"
COMBINE, WORKER, MODEL = "combine", "worker", "model"
_BORDER = 64  # bytes; data starts here
_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}


class Formed(NamedTuple):
    """A vector that is formed whenever it is read, so that it need not be held. like: any tensor of its shape, type."""

    like: Tensor
    form: Callable[[], Tensor]


class Held:
    """Vectors in memory; names may share one, as long as nobody changes it in place."""

    def __init__(self, vectors: Mapping[str, Tensor | Formed]) -> None:
        self._vectors = dict(vectors)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is there."""
        return tuple(self._vectors)

    def view(self, name: str) -> Tensor:
        """Return a vector to read."""
        found = self._vectors[name]
        return found.form() if isinstance(found, Formed) else found

    def take(self, name: str) -> Tensor:
        """Return a vector and forget it."""
        found = self.view(name)
        del self._vectors[name]
        return found

    def drop(self, *names: str) -> None:
        """Forget vectors."""
        for name in names:
            self._vectors.pop(name, None)

    def put(self, name: str, vector: Tensor | Formed) -> None:
        """Own one more vector, or another one under this name."""
        self._vectors[name] = vector

    def to_write(self) -> dict[str, Tensor | Formed]:
        """Return what a file holds: without those that are the model itself."""
        model = self._vectors.get("model")
        return {name: v for name, v in self._vectors.items() if name == "model" or v is not model}


class Stored:
    """Vectors in a file, opened when they are read.

    Raises UserError where the file is missing, damaged, of another kind, layout or (unless None) iteration.
    """

    def __init__(self, path: PathLike, kind: str, layout: Layout, iteration: int | None = None) -> None:
        self.path, self._layout = path, layout
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["unisono"])
                self.names = tuple(sorted(file.keys()))
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
        if iteration is not None and self.iteration != iteration:
            raise UserError(f"{path}: of iteration {self.iteration}, the state file of {iteration}: give a pair")

    def view(self, name: str) -> Tensor:
        """Return a tensor that lives in the mapped file."""
        if name not in self.names:
            raise UserError(f"{self.path}: no tensor {name!r}: delete it and run the stage that makes it")
        # Opened anew each time: pages that a mapping has touched count as ours until it is closed.
        with safetensors.safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name)

    def take(self, name: str) -> Tensor:
        """Return a copy; flat vectors [P] come on a 64-byte border."""
        tensor = self.view(name)
        if tensor.shape == (self._layout.size,) and tensor.dtype in (torch.float32, torch.float64):
            return flat.zeros(self._layout.size, tensor.dtype).copy_(tensor)
        return tensor.clone()

    def drop(self, *names: str) -> None:
        """Do nothing: a file takes no memory."""

    def to_write(self) -> dict[str, Tensor | Formed]:
        """Return what a copy of the file holds."""
        return {name: self.view(name) for name in self.names}


Vectors = Held | Stored


def known(vectors: Vectors, *names: str) -> str:
    """Return the first of these names that is there, else `model`, which an absent vector equals."""
    return next((name for name in names if name in vectors.names), "model")


def take_group(vectors: Vectors, prefix: str) -> dict[str, Tensor]:
    """Take all vectors of a prefix (`rule.`), by their names without it."""
    return {name.removeprefix(prefix): vectors.take(name) for name in vectors.names if name.startswith(prefix)}


def save(path: PathLike, tensors: Mapping[str, Tensor | Formed], kind: str, layout: Layout, iteration: int) -> None:
    """Write tensors atomically, one after the other; equal tensors give equal bytes."""
    about = {"format": FORMAT, "kind": kind, "iteration": iteration, "layout": layout_digest(layout)}
    header: dict[str, Any] = {"__metadata__": {"unisono": json.dumps(about, sort_keys=True)}}
    alike = {name: tensor.like if isinstance(tensor, Formed) else tensor for name, tensor in tensors.items()}
    end, ordered = 0, sorted(alike, key=lambda name: (-alike[name].element_size(), name))
    for name in ordered:
        tensor = alike[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _BORDER)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        # The library's own writer first copies all tensors into bytes: a memory of twice the vectors.
        file.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            tensor = tensors[name]
            whole = tensor.form() if isinstance(tensor, Formed) else tensor
            file.write(whole.contiguous().reshape(-1).numpy().data.cast("B"))
            del whole  # before the next one is formed


def layout_digest(layout: Layout) -> str:
    """Return 16 hexadecimal digits that name a layout."""
    return hashlib.sha256(json.dumps([layout.names, layout.shapes]).encode()).hexdigest()[:16]


class Folder:
    """How the files between iterations are called, wherever they lie together."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)

    def combined(self, number: int) -> Path:
        """Return the path of an iteration's vectors (-1: before the first)."""
        return self.path / f"{_name(number)}.combine.safetensors"

    def state(self, number: int) -> Path:
        """Return the path of an iteration's numbers."""
        return self.path / f"{_name(number)}.state.json"

    def worker(self, number: int, worker: int) -> Path:
        """Return the path of what a worker goes on with."""
        return self.path / f"{number}.{worker}.state.safetensors"

    def kept(self, number: int) -> Path:
        """Return the path of an iteration's model where the end of the run combines it with others."""
        return self.path / f"{number}.kept.safetensors"

    def diagnostics(self, number: int) -> Path:
        """Return the path of what a job of its own found about an iteration's model."""
        return self.path / f"{number}.diagnostics.json"

    def owned(self, number: int, workers: Iterable[int], layout: Layout) -> dict[int, Stored]:
        """Return what each of these workers goes on with after an iteration, of those that left something."""
        paths = {worker: self.worker(number, worker) for worker in workers}
        return {worker: Stored(path, WORKER, layout, number) for worker, path in paths.items() if path.exists()}


def _name(number: int) -> str:
    return "init" if number < 0 else str(number)
