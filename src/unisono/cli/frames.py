"""Write the frames stores of train and dev: features after CMVN and deltas, unspliced, each with its pdf_id.

A store may be made of several splits (train and perturbed); `--train-table` and the like then take a file of each.
"""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from unisono.data.features.extract import FeatureOptions
    from unisono.data.features.reader import FeatureReader
    from unisono.data.sequences import Sequences

STORES = ("train", "dev")


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    for store in STORES:
        for name, what in {
            "table": "utterance table",
            "features": "feature shards of all its splits",
            "cmvn": "CMVN statistics",
            "alignment": "alignment",
            "alignment-report": "reasons of alignment failures",
        }.items():
            parser.add_argument(f"--{store}-{name}", required=True, nargs="+", metavar="FILE", help=f"{store}: {what}")
        parser.add_argument(f"--out-{store}", required=True, metavar="FILE", help=f"frames store of {store}")
    parser.add_argument("--feature-options", required=True, metavar="JSON", help="config section features")
    parser.add_argument("--dtype", required=True, choices=("float16", "float32"), help="config key data.dtype")
    parser.add_argument("--out-info", required=True, metavar="FILE", help="frames.json: counts, what was left out")


def run(args: argparse.Namespace) -> None:
    """Join features and alignments."""
    from unisono.errors import UserError
    from unisono.files import write_json

    info = {store: _write_store(args, store) for store in STORES}
    dims = {store: (part.pop("dim"), part.pop("num_pdfs")) for store, part in info.items()}
    if dims["train"] != dims["dev"]:
        raise UserError(f"{args.dev_alignment[0]}: dim and pdfs {dims['dev']}, train has {dims['train']}: align anew")
    write_json(args.out_info, info | {"dim": dims["train"][0], "num_pdfs": dims["train"][1]})


class _Split(NamedTuple):
    """What a split gives to a store: where its features and pdf_ids are, and which utterances have both."""

    reader: "FeatureReader"
    alignment: "Sequences"
    kept: list[str]
    left_out: list[dict[str, str]]


def _open_split(table: str, features: list[str], files: list[str], options: "FeatureOptions") -> _Split:
    """Open a split; `files`: its CMVN statistics, alignment and alignment report."""
    from unisono.data.features.reader import FeatureReader
    from unisono.data.sequences import Sequences
    from unisono.errors import UserError
    from unisono.files import read_json

    cmvn, aligned_path, report = files
    reader, alignment = FeatureReader(table, features, cmvn, options), Sequences(aligned_path)
    reasons = {item["utterance_id"]: item["reason"] for item in read_json(report).get("failed", [])}
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
            f"{aligned_path}: {len(left_out)} of {len(reader)} utterances cannot be used ({first}):"
            " look at the alignment's report, or make frame_shift_ms and frame_length_ms of features and hmm equal"
        )
    return _Split(reader, alignment, kept, left_out)


def _write_store(args: argparse.Namespace, store: str) -> dict[str, Any]:
    from unisono.data.features.extract import FeatureOptions
    from unisono.data.frames.store_write import write_frames
    from unisono.errors import UserError
    from unisono.options import from_json

    values = vars(args)
    options = from_json(FeatureOptions, args.feature_options, "--feature-options")
    tables, features, *others = (
        values[f"{store}_{name}"] for name in ("table", "features", "cmvn", "alignment", "alignment_report")
    )
    splits = [_open_split(table, features, files, options) for table, *files in zip(tables, *others, strict=True)]
    num_pdfs = {int(split.alignment.attrs["num_pdfs"]) for split in splits}
    if len(num_pdfs) > 1:
        raise UserError(f"{' '.join(values[f'{store}_alignment'])}: made on different trees: align anew")
    home = {name: split for split in splits for name in split.kept}

    def items() -> "Iterator[tuple[str, np.ndarray, np.ndarray]]":
        for name in sorted(home):
            yield name, home[name].reader.get(name), home[name].alignment.get(name, "ids")

    written = write_frames(
        values[f"out_{store}"], items(), num_pdfs=min(num_pdfs), frame_shift_s=splits[0].reader.frame_shift_s,
        dtype=args.dtype, rows=sum(split.reader.num_frames(name) for name, split in home.items()),
    )  # fmt: skip
    left_out = [item for split in splits for item in split.left_out]
    return written | {"left_out": left_out, "num_pdfs": min(num_pdfs)}
