"""Write what is made from the settings: the tables of config/README.md, and config/schema.json for editors.

The page keeps what stands above the line MARK. Tests fail while a page differs from the settings.
"""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--readme", default="config/README.md", metavar="FILE", help="page to rewrite")
    parser.add_argument("--schema", default="config/schema.json", metavar="FILE", help="JSON schema to write")


def run(args: argparse.Namespace) -> None:
    """Rewrite the generated part of the page, and the schema."""
    from pathlib import Path

    from unisono.config.reference import MARK, page
    from unisono.config.schema import schema
    from unisono.errors import UserError
    from unisono.files import write_json, write_text

    try:
        head, found, _ = Path(args.readme).read_text(encoding="utf-8").partition(MARK)
    except OSError as error:
        raise UserError(f"{args.readme}: {error.strerror}: give --readme of an unisono folder") from None
    if not found:
        raise UserError(f"{args.readme}: the line {MARK!r} is missing: put it where the tables shall begin")
    write_text(args.readme, f"{head}{MARK}\n\n{page()}")
    write_json(args.schema, schema())
