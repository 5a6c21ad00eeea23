"""Base features (before CMVN and deltas) of one shard of one split, into one Sequences file."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the split (TSV)")
    parser.add_argument("--shard", type=int, required=True, help="which shard of the table, from 0")
    parser.add_argument("--options", required=True, help="config section features or hmm.features as JSON")
    parser.add_argument("--out", required=True, help="Sequences file to write")


def run(args: argparse.Namespace) -> None:
    """Compute and write."""
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions
    from unisono.data.features.write import write_features

    write_features(args.table, args.shard, from_json(FeatureOptions, args.options), args.out)
