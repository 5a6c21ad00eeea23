"""Model files: safetensors with dense tensors "<layer>.weight", "<layer>.bias" and, in a final model, "log_prior".

The metadata has exactly one key, `unisono`, a JSON object with sorted keys (several keys would come out in varying
order): format "unisono.model/1"; layout, a list of [name, rows, columns] with the bias counted as a column; network,
what is needed to run it (kind, feature_dim, num_pdfs, hidden, nonlinearity, context); constants, where the network has
any, a list of [name, *shape] of tensors "constant.<name>". All tensors are float32. Equal models give equal bytes.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
from torch import Tensor

from unisono.config.build import build
from unisono.config.network import AnyNetworkOptions
from unisono.core import flat
from unisono.core.flat import Layout
from unisono.errors import UserError
from unisono.files import atomic_path
from unisono.nn.network import Network, make

FORMAT = "unisono.model/1"
CONSTANT = "constant."  # before the names of constants
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64})*")
_REMEDY = "this is not a model written by unisono, or it is damaged"


class Model(NamedTuple):
    """A loaded model. flat: [P] float32. log_prior: [num_pdfs] natural logarithms, None in models of an iteration.

    network: what `Network.spec` says. constants: see `Network.constants`.
    """

    network: dict[str, Any]
    layout: Layout
    flat: Tensor
    log_prior: Tensor | None
    constants: Mapping[str, Tensor] = {}


def save_model(
    path: str | os.PathLike[str],
    network: Mapping[str, Any],
    layout: Layout,
    parameters: Tensor,
    log_prior: Tensor | None,
    constants: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model atomically. `network` and `constants` are the network's `spec()` and own. No padding is written."""
    tensors = flat.to_tensors(layout, parameters.detach().cpu())
    if log_prior is not None:
        tensors["log_prior"] = log_prior.detach().cpu().float().contiguous()
    header: dict[str, Any] = {"format": FORMAT, "network": dict(network)}
    header["layout"] = [[name, *shape] for name, shape in zip(layout.names, layout.shapes, strict=True)]
    if constants:
        tensors |= {CONSTANT + name: tensor.detach().cpu().float().contiguous() for name, tensor in constants.items()}
        header["constants"] = [[name, *tensor.shape] for name, tensor in sorted(constants.items())]
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"unisono": text})


def load_model(path: str | os.PathLike[str], expected: Layout | None = None) -> Model:
    """Read a model. Raises UserError for a file that is missing, damaged, hostile, or not of the layout `expected`.

    The values themselves are not judged: the combine step must be able to read a model that diverged.
    """
    where = str(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            network, layout, shapes = _header(where, file.metadata())
            if expected is not None and layout != expected:
                raise UserError(f"{where}: {_difference(layout, expected)}: the model is of another network")
            tensors = _tensors(where, file, layout, network["num_pdfs"], shapes)
    except (OSError, safetensors.SafetensorError) as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{where}: no such file: give the path of a model") from None
        raise UserError(f"{where}: {str(error).splitlines()[0]}: {_REMEDY}") from None
    log_prior = tensors.pop("log_prior", None)
    constants = {name: tensors.pop(CONSTANT + name) for name in shapes}
    return Model(network, layout, flat.from_tensors(layout, tensors, where), log_prior, constants)


def network_of(spec: Mapping[str, Any], dropout: float = 0.0, constants: Mapping[str, Tensor] | None = None) -> Network:
    """Return the network that a model file describes. Raises UserError for a description that is not one."""
    values = dict(spec)
    sizes = [values.pop(key, None) for key in ("feature_dim", "num_pdfs")]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(f"model: feature_dim and num_pdfs are {sizes}: {_REMEDY}")
    values |= {"dropout": dropout} if dropout else {}
    options = build(AnyNetworkOptions, values, "model: network")
    return make(options, sizes[0], sizes[1], constants=constants)


def _header(
    where: str, metadata: Mapping[str, str] | None
) -> tuple[dict[str, Any], Layout, dict[str, tuple[int, ...]]]:
    """Check the metadata and return network, layout and shapes of constants.

    The layout must be the one that the described network has.
    """
    try:
        header = json.loads((metadata or {})["unisono"])
        form, network = header["format"], header["network"]
        layout = [(_name(name), (int(rows), int(columns))) for name, rows, columns in header["layout"]]
        constants = {_name(name): tuple(map(int, shape)) for name, *shape in header.get("constants", [])}
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError):
        raise UserError(f"{where}: no readable `unisono` header: {_REMEDY}") from None
    if form != FORMAT:
        raise UserError(f"{where}: format is {str(form)[:40]!r}, expected {FORMAT}: use the version that wrote it")
    if not isinstance(network, dict) or set(metadata or {}) != {"unisono"}:
        raise UserError(f"{where}: header has other keys than `unisono`: {_REMEDY}")
    wanted = network_of(network).layout
    if layout != list(zip(wanted.names, wanted.shapes, strict=True)):
        raise UserError(f"{where}: layout does not belong to the network described: {_REMEDY}")
    return network, wanted, constants


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name of a matrix")
    return name


def _tensors(
    where: str, file: Any, layout: Layout, num_pdfs: int, constants: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    expected = {CONSTANT + name: list(shape) for name, shape in constants.items()}
    for entry in layout.entries:
        rows, columns = entry.shape
        expected[f"{entry.name}.weight"] = [rows, columns - entry.bias]
        expected |= {f"{entry.name}.bias": [rows]} if entry.bias else {}
    found = set(file.keys())
    if "log_prior" in found:
        expected["log_prior"] = [num_pdfs]
    if found != set(expected):
        raise UserError(f"{where}: tensors {sorted(found ^ set(expected))[:3]} are missing or too many: {_REMEDY}")
    for name, shape in expected.items():
        part = file.get_slice(name)
        if part.get_shape() != shape or part.get_dtype() != "F32":
            raise UserError(
                f"{where}: tensor {name} is {part.get_dtype()} {part.get_shape()}, expected F32 {shape}: {_REMEDY}"
            )
    return {name: file.get_tensor(name) for name in expected}


def _difference(found: Layout, expected: Layout) -> str:
    def text(layout: Layout) -> str:
        shapes = zip(layout.names, layout.shapes, strict=True)
        return ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in shapes)

    return f"layout is {text(found)}; expected {text(expected)}"
