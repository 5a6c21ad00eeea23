"""Print the last lines of a run: word error rates, whether the network beats the GMM, warnings, what next."""

import argparse
from pathlib import Path


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("results", metavar="RESULTS", type=Path, help="results/<name> with report/answer.json")


def run(args: argparse.Namespace) -> None:
    """Read and print."""
    from unisono.desk.last_lines import last_lines
    from unisono.files import read_json

    print("\n".join(["", *last_lines(read_json(args.results / "report" / "answer.json"), str(args.results))]))
