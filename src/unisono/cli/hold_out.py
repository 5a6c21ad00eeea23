"""Set a seeded tenth of the training table apart: where dev has no alignments, training evaluates itself on it."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--table", required=True, help="utterance table of the training set (TSV)")
    parser.add_argument("--seed", required=True, type=int, help="config key hmm.seed")
    parser.add_argument("--out-train", required=True, metavar="FILE", help="utterance table to write: the rest")
    parser.add_argument("--out-dev", required=True, metavar="FILE", help="utterance table to write: the tenth")


def run(args: argparse.Namespace) -> None:
    """Read, draw, write."""
    import logging

    from unisono.data.corpus.hold_out import hold_out
    from unisono.data.corpus.table import read_table, write_table

    rest, tenth = hold_out(read_table(args.table), args.seed)
    write_table(args.out_train, rest)
    write_table(args.out_dev, tenth)
    logging.getLogger("unisono.kaldi").info("%d utterances stand for dev, %d are left to train", len(tenth), len(rest))
