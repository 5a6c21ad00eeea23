"""Remove what neither use, resume nor report of finished runs needs; it is listed first, with its size."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  unisono clean results/mine                # lists, asks, removes
  unisono clean results/mine --all --yes    # features and frames too: a changed setting makes them again
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("results", metavar="RESULTS", type=Path, help="results/<name>")
    parser.add_argument("--all", action="store_true", help="features and frames too, once all runs are finished")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> None:
    """List, ask, remove, while no snakemake may begin."""
    from unisono.desk import cleaning

    with cleaning.undisturbed(args.results):
        _clean(args)


def _clean(args: argparse.Namespace) -> None:
    import sys

    from unisono.desk import cleaning
    from unisono.desk.words import size

    waste = cleaning.find_waste(args.results, args.all)
    if not waste:
        print(f"{args.results}: nothing to remove")
        return
    for path, number, why in waste:
        print(f"{size(number):>10}  {path}  ({why})")
    print(f"{size(sum(item.bytes for item in waste))} in all")
    if not args.yes:
        if not sys.stdin.isatty():
            print("nothing is removed: say --yes")
            return
        if input("remove? [y/N] ").strip().lower() not in ("y", "yes"):
            return
    print(f"{size(cleaning.remove(waste))} removed")
