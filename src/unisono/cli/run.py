"""Train, decode, score and report as a config says: one bar over the whole run, and the answer at its end.

What is finished stays: to resume, run the same command again. On a cluster use snakemake itself (docs/slurm.md).
"""

import argparse

EXAMPLES = """examples:
  unisono run mine.yaml
  unisono run mine.yaml parallel.workers=4 name=mine4          # all of it again with changes, under another name
  unisono run mine.yaml --verbose                              # as snakemake shows it

To try settings on the same features and alignment, name runs in mine.yaml, with what each changes:
  runs: {a: {}, b: {schedule: {epochs: 10}}}
What is run again under the same name replaces its results.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="*", metavar="CONFIG|KEY=VALUE", help="config files, and changes to them")
    parser.add_argument("--cores", type=int, metavar="N", help="jobs at once (all cores)")
    parser.add_argument("--verbose", action="store_true", help="snakemake's own display")
    parser.add_argument("--tensorboard", action="store_true", help="the same as logging.tensorboard=true")
    parser.add_argument("--dry-run", action="store_true", help="only show what would run")


def run(args: argparse.Namespace) -> int:
    """Run; return the exit code."""
    from unisono.desk.running import run
    from unisono.errors import UserError

    if args.cores is not None and args.cores < 1:
        raise UserError(f"--cores: {args.cores}: give at least 1")
    words = [*args.words, "logging.tensorboard=true"] if args.tensorboard else args.words
    return run(words, args.cores, args.verbose, args.dry_run)
