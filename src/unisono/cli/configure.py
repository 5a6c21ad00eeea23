"""Write a run's config: every key that decides what its training computes.

Engine, device, paths and cores are no part of it, so the same training has the same config wherever it runs.
"""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--options", required=True, metavar="JSON", help="the settings that are not at their default")
    parser.add_argument("--out", required=True, metavar="FILE", help="config.json of the run")


def run(args: argparse.Namespace) -> None:
    """Write the config as JSON with sorted keys."""
    import json

    from unisono.config.build import complete, from_json
    from unisono.config.stack import class_of_run
    from unisono.files import write_json

    section = class_of_run(json.loads(args.options))
    write_json(args.out, complete(from_json(section, args.options), execution=False))
