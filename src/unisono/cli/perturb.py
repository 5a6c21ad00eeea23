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
    from unisono.cli.corpus import BYTES_PER_SECOND
    from unisono.data.corpus.perturbation import perturbed
    from unisono.data.corpus.table import read_table, statistics, write_table
    from unisono.files import require_space, write_json

    rows = perturbed(read_table(args.table), args.speeds)
    write_table(args.out, rows)
    size = statistics(rows)
    require_space(
        args.out, size["seconds"] * BYTES_PER_SECOND, f"{size['seconds'] / 3600:.1f} hours of perturbed speech"
    )
    write_json(args.report, size)
