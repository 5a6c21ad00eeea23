"""Write the frames stores of train and dev: features after CMVN and deltas, unspliced, each with its pdf_id.

A store may be made of several splits (train and perturbed); `--train-table` and the like then take a file of each.
"""

import argparse
from typing import Any

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

    info = {store: _join(args, store) for store in STORES}
    dims = {store: (part.pop("dim"), part.pop("num_pdfs")) for store, part in info.items()}
    if dims["train"] != dims["dev"]:
        raise UserError(f"{args.dev_alignment[0]}: dim and pdfs {dims['dev']}, train has {dims['train']}: align anew")
    info["dev"].pop("lengths")  # those of train decide how many iterations a run has
    write_json(args.out_info, info | {"dim": dims["train"][0], "num_pdfs": dims["train"][1]})


def _join(args: argparse.Namespace, store: str) -> dict[str, Any]:
    from unisono.cli.arguments import feature_options
    from unisono.data.frames.join import SplitFiles, join

    values = vars(args)
    tables, features, *others = (
        values[f"{store}_{name}"] for name in ("table", "features", "cmvn", "alignment", "alignment_report")
    )
    files = [SplitFiles(table, features, *rest) for table, *rest in zip(tables, *others, strict=True)]
    return join(values[f"out_{store}"], files, feature_options(args), args.dtype)
