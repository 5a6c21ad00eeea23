"""Kill the processes of a training at random moments, resume it, and certify that nothing was lost.

Trains a run of a config in folders of their own below results/NAME/chaos/RUN, from the frames and the first model of
the workflow. Its processes are killed at seeded moments; the certificate says what that cost.
"""

import argparse

EXAMPLES = """examples:
  unisono chaos mine.yaml                                      # as the config says
  unisono chaos mine.yaml --faults 30 parallel.engine=virtual schedule.epochs=null schedule.iterations=1000
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="+", metavar="CONFIG|KEY=VALUE", help="config files, and changes to them")
    parser.add_argument("--run", metavar="RUN", help="which run of the config (its only one)")
    parser.add_argument("--faults", type=int, default=3, metavar="N", help="processes to kill (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments and victims (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run; return 0 where nothing was lost, else 1."""
    from unisono.desk.chaos import certify
    from unisono.errors import UserError

    if args.faults < 1:
        raise UserError(f"--faults: {args.faults}: give at least 1")
    return certify(args.words, args.run, args.faults, args.seed)
