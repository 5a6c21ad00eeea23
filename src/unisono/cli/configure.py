"""Write a run's config: the resolved sections that decide what its training computes.

Engine, device, paths and cores are no part of it, so the same training has the same config wherever it runs.
"""

import argparse
import json

from unisono.errors import UserError
from unisono.files import write_json


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--options", required=True, metavar="JSON", help="the run's identity (study.identity)")
    parser.add_argument("--out", required=True, metavar="FILE", help="config.json of the run")


def run(args: argparse.Namespace) -> None:
    """Write the config as JSON with sorted keys."""
    try:
        config = json.loads(args.options)
    except ValueError as error:
        raise UserError(f"--options: not JSON ({error})") from None
    if not isinstance(config, dict):
        raise UserError(f"--options: expected a mapping, found {type(config).__name__}")
    write_json(args.out, config)
