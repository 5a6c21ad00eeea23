"""Take Kaldi's alignments of one split into our file, cut to the features where they differ by a frame or two."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--dir", required=True, help="Kaldi's folder with the final.mdl that aligned")
    parser.add_argument(
        "--alignments", required=True, nargs="+", metavar="FILE",
        help="archives (gzip, too), scripts (*.scp) or patterns such as 'exp/tri3_ali/ali.*.gz'",
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="model.h5 that adopt-kaldi wrote from that folder")
    parser.add_argument("--table", required=True, help="utterance table of the split")
    parser.add_argument("--features", required=True, nargs="+", help="feature files of all shards of the split")
    parser.add_argument("--feature-options", required=True, metavar="JSON", help="config section of these features")
    parser.add_argument("--out", required=True, help="alignments to write, Sequences format")
    parser.add_argument(
        "--report", required=True, help="JSON to write: counts, and utterances without one, with reasons"
    )


def run(args: argparse.Namespace) -> None:
    """Read, check, write."""
    from pathlib import Path

    from unisono.bootstrap import kaldi
    from unisono.config.build import from_json
    from unisono.config.features import FeatureOptions
    from unisono.data.features.reader import BaseReader
    from unisono.data.kaldi.archive import parts, read_all
    from unisono.data.kaldi.gmm import read_model
    from unisono.errors import UserError
    from unisono.files import write_json
    from unisono.hmm.model import load_model

    options = from_json(FeatureOptions, args.feature_options, "--feature-options")
    transitions, _ = read_model(Path(args.dir) / "final.mdl")
    if load_model(args.model).num_pdfs != transitions.num_pdfs:
        raise UserError(f"{args.model}: not made from {args.dir}: run adopt-kaldi again")
    reader = BaseReader(args.table, args.features, options)
    files = [path for pattern in args.alignments for path in parts(pattern)]
    report = kaldi.write_alignments(args.out, args.model, transitions, read_all(files, "integers"), reader)
    kaldi.log.info("%d alignments, %d of them adjusted", report["aligned"], report["adjusted"])
    write_json(args.report, report)
