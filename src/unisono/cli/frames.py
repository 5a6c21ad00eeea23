"""Write the frames stores of train and dev: features after CMVN and deltas, unspliced, each with its pdf_id."""

import argparse
from collections.abc import Iterator
from typing import Any

SPLITS = ("train", "dev")


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    for split in SPLITS:
        parser.add_argument(f"--{split}-table", required=True, metavar="FILE", help=f"utterance table of {split}")
        parser.add_argument(f"--{split}-features", required=True, nargs="+", metavar="FILE", help="its feature shards")
        parser.add_argument(f"--{split}-cmvn", required=True, metavar="FILE", help="its CMVN statistics")
        parser.add_argument(f"--{split}-alignment", required=True, metavar="FILE", help="its alignment")
        parser.add_argument(f"--{split}-alignment-report", metavar="FILE", help="reasons of alignment failures")
        parser.add_argument(f"--out-{split}", required=True, metavar="FILE", help=f"frames store of {split}")
    parser.add_argument("--feature-options", required=True, metavar="JSON", help="config section features")
    parser.add_argument("--dtype", required=True, choices=("float16", "float32"), help="config key data.dtype")
    parser.add_argument("--out-info", required=True, metavar="FILE", help="frames.json: counts, what was left out")


def run(args: argparse.Namespace) -> None:
    """Join features and alignments."""
    from unisono.errors import UserError
    from unisono.files import write_json

    info = {split: _write_split(args, split) for split in SPLITS}
    dims = {split: (part.pop("dim"), part.pop("num_pdfs")) for split, part in info.items()}
    if dims["train"] != dims["dev"]:
        raise UserError(f"{args.dev_alignment}: dim and pdfs {dims['dev']}, train has {dims['train']}: align anew")
    write_json(args.out_info, info | {"dim": dims["train"][0], "num_pdfs": dims["train"][1]})


def _write_split(args: argparse.Namespace, split: str) -> dict[str, Any]:
    import numpy as np

    from unisono.data.features import FeatureOptions
    from unisono.data.frames_write import write_frames
    from unisono.data.reader import FeatureReader
    from unisono.data.store import Sequences
    from unisono.errors import UserError
    from unisono.files import read_json
    from unisono.options import from_json

    values = vars(args)
    options = from_json(FeatureOptions, args.feature_options, "--feature-options")
    reader = FeatureReader(values[f"{split}_table"], values[f"{split}_features"], values[f"{split}_cmvn"], options)
    report = read_json(values[f"{split}_alignment_report"]) if values[f"{split}_alignment_report"] else {}
    reasons = {item["utterance_id"]: item["reason"] for item in report.get("failed", [])}
    alignment = Sequences(values[f"{split}_alignment"])
    left_out, kept = [], []
    for utterance in sorted(reader.utterances, key=lambda u: u.utterance_id):
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
            f"{values[f'{split}_alignment']}: {len(left_out)} of {len(reader)} utterances cannot be used ({first}):"
            " look at the alignment's report, or make frame_shift_ms and frame_length_ms of features and hmm equal"
        )
    num_pdfs = int(alignment.attrs["num_pdfs"])

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for name in kept:
            yield name, reader.get(name), alignment.get(name, "ids")

    rows = sum(reader.num_frames(name) for name in kept)
    written = write_frames(
        values[f"out_{split}"], items(), num_pdfs=num_pdfs, frame_shift_s=reader.frame_shift_s,
        dtype=args.dtype, rows=rows,
    )  # fmt: skip
    return written | {"left_out": left_out, "num_pdfs": num_pdfs}
