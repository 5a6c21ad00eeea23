"""Features and alignments of one or more splits, joined into one frames store."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from unisono.config.features import FeatureOptions
from unisono.data.features.reader import FeatureReader
from unisono.data.frames.store_write import write_frames
from unisono.data.sequences import Sequences
from unisono.errors import UserError
from unisono.files import read_json


class SplitFiles(NamedTuple):
    """The files of one split: utterance table, feature shards, CMVN statistics, alignment and its report."""

    table: str
    features: Sequence[str]
    cmvn: str
    alignment: str
    alignment_report: str


class _Split(NamedTuple):
    """What a split gives to a store: where its features and pdf_ids are, and which utterances have both."""

    reader: FeatureReader
    alignment: Sequences
    kept: list[str]
    left_out: list[dict[str, str]]


def join(path: str, files: Iterable[SplitFiles], options: FeatureOptions, dtype: str) -> dict[str, Any]:
    """Write the frames store `path` of all utterances that have both features and an alignment, sorted by name.

    dtype: float16 or float32. Returns frames, utterances, dim, num_pdfs, and left_out: a list of {utterance_id,
    reason}. Raises UserError where splits were aligned on different trees, or most utterances of one cannot be used.
    """
    splits = [_open(split, options) for split in files]
    num_pdfs = {int(split.alignment.attrs["num_pdfs"]) for split in splits}
    if len(num_pdfs) > 1:
        raise UserError(
            f"{' '.join(str(split.alignment.path) for split in splits)}: made on different trees: align anew"
        )
    home = {name: split for split in splits for name in split.kept}

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for name in sorted(home):
            yield name, home[name].reader.get(name), home[name].alignment.get(name, "ids")

    written = write_frames(
        path, items(), num_pdfs=min(num_pdfs), frame_shift_s=splits[0].reader.frame_shift_s, dtype=dtype,
        rows=sum(split.reader.num_frames(name) for name, split in home.items()),
    )  # fmt: skip
    left_out = [item for split in splits for item in split.left_out]
    return written | {"left_out": left_out, "num_pdfs": min(num_pdfs)}


def _open(split: SplitFiles, options: FeatureOptions) -> _Split:
    reader = FeatureReader(split.table, list(split.features), split.cmvn, options)
    alignment = Sequences(split.alignment)
    reasons = {item["utterance_id"]: item["reason"] for item in read_json(split.alignment_report).get("failed", [])}
    left_out, kept = [], []
    for utterance in reader.utterances:
        name, frames = utterance.utterance_id, reader.num_frames(utterance.utterance_id)
        aligned = len(alignment.get(name, "ids")) if name in alignment else None
        if aligned is None or aligned != frames:
            reason = reasons.get(name, "not aligned") if aligned is None else f"{frames} frames, {aligned} aligned"
            left_out.append({"utterance_id": name, "reason": reason})
        else:
            kept.append(name)
    if len(left_out) > len(kept):
        first = f"{left_out[0]['utterance_id']}: {left_out[0]['reason']}"
        raise UserError(
            f"{split.alignment}: {len(left_out)} of {len(reader)} utterances cannot be used ({first}):"
            " look at the alignment's report, or make frame_shift_ms and frame_length_ms of features and hmm equal"
        )
    return _Split(reader, alignment, kept, left_out)
