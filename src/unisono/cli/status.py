"""Say how far a run is, from its files: stage, iteration, speed, dev objective, time left, disk, the newest error.

Percent and time left of the whole are those that `unisono run` shows; a snakemake that was typed tells neither.
Without RESULTS the folder of results that was changed last. In a pipe each status is one line.
"""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  unisono status
  unisono status results/mine --watch
  unisono status results/mine --json
"""
EVERY_S = 2.0


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("results", nargs="?", metavar="RESULTS", type=Path, help="results/<name>")
    parser.add_argument("--watch", action="store_true", help="again every two seconds, until the results are finished")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON, a line each time")


def run(args: argparse.Namespace) -> None:
    """Read and print, once or until the end."""
    import json
    import sys
    import time

    from unisono.desk import status

    root = args.results or _newest(Path("results"))
    while True:
        found = status.read_status(root)
        if args.json:
            print(json.dumps(status.as_json(found), sort_keys=True), flush=True)
        elif not sys.stdout.isatty():
            print(status.one_line(found), flush=True)
        else:
            clear = "\x1b[H\x1b[J" if args.watch else ""
            print(clear + "\n".join(status.lines(found)), flush=True)
        if not args.watch or found.finished:
            return
        time.sleep(EVERY_S)


def _newest(folder: Path) -> Path:
    from unisono.errors import UserError

    logs = [(path.stat().st_mtime, path.parents[1]) for path in folder.glob("*/logs/*")]
    if not logs:
        raise UserError(f"{folder}: no results in it: give results/<name>, or start a run in this folder")
    return max(logs)[1]
