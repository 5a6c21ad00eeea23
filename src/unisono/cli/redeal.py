"""Let an unfinished run of virtual or sync go on with another number of workers; then set parallel.workers likewise."""

import argparse

EXAMPLE = """example:
  unisono redeal results/mine/runs/main --workers 4
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.epilog = EXAMPLE
    parser.add_argument("run", metavar="RUN", help="folder of the run, results/<name>/runs/<run>")
    parser.add_argument("--workers", required=True, type=int, metavar="N", help="workers from now on")


def run(args: argparse.Namespace) -> None:
    """Write redeal.json beside the run, where the rule `plan` reads it."""
    from pathlib import Path

    from unisono.engines.redeal import redeal
    from unisono.errors import UserError

    if args.workers < 1:
        raise UserError(f"--workers: {args.workers}: give 1 or more")
    stay = redeal(Path(args.run), args.workers)
    print(f"{args.run}: {stay} iterations stay; now set parallel.workers: {args.workers} and run snakemake again")
