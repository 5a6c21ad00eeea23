"""Constants of a network, estimated once from training frames: input transforms and scales by priors (6.1.9, 4.3.5).

The file is safetensors with float64 tensors (`nn.ends` lists them) and one metadata key, `unisono`: JSON with `format`
"unisono.constants/1". Equal constants give equal bytes.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from unisono.config.transform import ConstantsOptions
from unisono.core import input_transform
from unisono.core.input_transform import Statistics
from unisono.data.frames.store import FramesStore
from unisono.engines import seeds
from unisono.errors import UserError
from unisono.files import atomic_path
from unisono.nn import model_file, stack
from unisono.nn.ends import NORMALISE, PRIOR_SCALES, TRANSFORM
from unisono.nn.frame_module import spliced

FORMAT = "unisono.constants/1"
FRAMES = 200_000  # whole utterances until there are so many
_PIECE = 512  # frames at a time


def estimate(options: ConstantsOptions, train: FramesStore) -> dict[str, Tensor]:
    """Return the constants of a network on spliced frames of a store, float64."""
    found = {}
    if options.transform.kind != "none":
        statistics = Statistics(train.num_pdfs, (sum(options.context) + 1) * train.dim)
        for x, ids in spliced_frames(train, options.context):
            statistics.add(x, ids)
        if options.transform.kind == "lda":
            found[TRANSFORM] = input_transform.lda(
                statistics,
                within_class_factor=options.transform.within_class_factor,
                max_singular_value=options.transform.max_singular_value,
            )
        else:
            full = input_transform.normalise(statistics)
            found[NORMALISE] = torch.stack([full[:, :-1].diagonal(), full[:, -1]])
    if options.prior_power != 0.0:
        counts = torch.from_numpy(train.pdf_counts)
        found[PRIOR_SCALES] = input_transform.prior_scales(counts, options.prior_power)
    return found


def spliced_frames(
    store: FramesStore, context: tuple[int, int], frames: int = FRAMES
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield x [n, D (left + 1 + right)] and ids [n] of utterances drawn until they have `frames` frames, or of all.

    The same frames for every seed.
    """
    for utterance in seeds.drawn_utterances(seeds.CONSTANTS_UTTERANCES, store.lengths, frames):
        begin, end = store.offsets[utterance : utterance + 2].tolist()
        whole = torch.from_numpy(store.read(begin, end))
        ids = torch.from_numpy(store.read_ids(begin, end).astype("int64"))
        for at in torch.arange(end - begin).split(_PIECE):
            yield spliced(whole, context, at), ids[at]


def save(path: str | os.PathLike[str], constants: Mapping[str, Tensor]) -> None:
    """Write the file."""
    tensors = {name: tensor.contiguous() for name, tensor in constants.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"unisono": json.dumps({"format": FORMAT})})


def load(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Tensor]:
    """Return the constants of files. Raises UserError naming one that is missing or holds something else."""
    found: dict[str, Tensor] = {}
    for path in paths:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["unisono"])
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: run the stage that makes it") from None
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not readable ({reason}): delete it and run the stage that makes it") from None
        form = header.get("format") if isinstance(header, dict) else None
        if form not in (FORMAT, model_file.FORMAT):
            raise UserError(f"{path}: not of format {FORMAT}: delete it and run the stage that makes it")
        found |= tensors if form == FORMAT else stack.layer_below(path)
    return found


def digest_of(constants: Mapping[str, Tensor]) -> str | None:
    """Return 16 hexadecimal digits that name constants; None where there are none."""
    if not constants:
        return None
    digest = hashlib.sha256()
    for name in sorted(constants):
        tensor = constants[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
