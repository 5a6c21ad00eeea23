"""Flags that several commands share, and what they stand for: the options and the features of one split."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unisono.config.features import FeatureOptions
    from unisono.config.hmm import HmmOptions
    from unisono.data.features.reader import FeatureReader


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Declare how many processes compute."""
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="no result depends on their number (default 1)"
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """Declare the features of one split and the language they are in."""
    parser.add_argument("--lang-dir", required=True, metavar="DIR", help="language directory")
    parser.add_argument("--table", required=True, metavar="TSV", help="utterance table of the split")
    parser.add_argument("--features", required=True, nargs="+", metavar="FILE", help="feature files of its shards")
    parser.add_argument("--cmvn", required=True, metavar="FILE", help="CMVN statistics that go with the features")
    parser.add_argument("--feature-options", required=True, metavar="JSON", help="config section of these features")
    add_processes(parser)


def add_hmm_split(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of all commands of the HMM stage."""
    add_split(parser)
    parser.add_argument("--options", required=True, metavar="JSON", help="config section hmm")


def add_hmm_training(parser: argparse.ArgumentParser, *, start: bool) -> None:
    """Declare the flags of an HMM training; `start`: it begins with the alignments of another model."""
    add_hmm_split(parser)
    if start:
        parser.add_argument("--from-model", required=True, metavar="FILE", help="model.h5 that made the alignments")
        parser.add_argument("--from-alignments", required=True, metavar="FILE", help="alignments by that model")
    parser.add_argument("--out", required=True, metavar="FILE", help="model.h5 to write")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: iterations, what was left out")


def add_alignment(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the commands that align a split."""
    add_hmm_split(parser)
    parser.add_argument("--model", required=True, metavar="FILE", help="model.h5 to align with")
    parser.add_argument("--out", required=True, metavar="FILE", help="alignments to write, Sequences format")
    parser.add_argument("--report", required=True, metavar="FILE", help="JSON to write: counts, failures and reasons")


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the commands that decode a split: its features, the acoustic model and the graph."""
    add_split(parser)
    parser.add_argument("--system", required=True, choices=("gmm", "dnn"), help="kind of acoustic model")
    parser.add_argument("--hmm-model", required=True, metavar="FILE", help="model.h5 that the graph was built from")
    parser.add_argument("--network", metavar="FILE", help="final.safetensors, where --system is dnn")
    parser.add_argument("--graph", required=True, metavar="FILE", help="HCLG.fst")
    parser.add_argument("--options", required=True, metavar="JSON", help="config section decode")


def hmm_options(args: argparse.Namespace) -> "HmmOptions":
    """Return the config section hmm."""
    from unisono.config.build import from_json
    from unisono.config.hmm import HmmOptions

    return from_json(HmmOptions, args.options, "--options")


def feature_options(args: argparse.Namespace) -> "FeatureOptions":
    """Return the config section of the split's features."""
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions

    return from_json(FeatureOptions, args.feature_options, "--feature-options")


def feature_reader(args: argparse.Namespace, shard: int | None = None) -> "FeatureReader":
    """Open the features of the split, or of one shard of it."""
    from unisono.data.features.reader import FeatureReader

    return FeatureReader(args.table, args.features, args.cmvn, feature_options(args), shard)
