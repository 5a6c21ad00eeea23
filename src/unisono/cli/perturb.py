"""Speed perturbation: the table of the training set heard faster and slower; features resample when they read."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--table", required=True, help="utterance table of the training set (TSV)")
    parser.add_argument("--speeds", required=True, nargs="+", type=float, help="config key speed_perturbation")
    parser.add_argument("--out", required=True, help="utterance table to write")
    parser.add_argument("--report", required=True, help="JSON to write: its size as in corpus.json")


def run(args: argparse.Namespace) -> None:
    """Write the rows, if the disk has room for what follows from them."""
    from unisono.data.corpus.perturbation import perturbed
    from unisono.data.corpus.space import require_space_for
    from unisono.data.corpus.table import read_table, statistics, write_table
    from unisono.files import write_json

    rows = perturbed(read_table(args.table), args.speeds)
    write_table(args.out, rows)
    size = statistics(rows)
    require_space_for(args.out, size["seconds"], "perturbed speech")
    write_json(args.report, size)
