"""List all runs of a folder of results: what differs, word error rate with its interval, hours of speech, date."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  unisono list
  unisono list results --json
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("folder", nargs="?", default="results", metavar="FOLDER", type=Path, help="folder (results)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> None:
    """Read and print."""
    import json

    from unisono import console
    from unisono.desk import listing

    entries = listing.read_entries(args.folder)
    if args.json:
        print(json.dumps(listing.as_json(entries), indent=1, sort_keys=True))
    else:
        print("\n".join(console.columns([listing.COLUMNS, *listing.rows(entries)], left=2)))
        if cut := listing.below(entries):
            print("\nwhat differs, too:\n" + "\n".join(f"  {line}" for line in cut))
