"""Set a paper's claims against what its study measured: claims.json, and claims.md, the table that people read."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--claims", required=True, metavar="JSON", help="the paper's claims with their defaults")
    parser.add_argument("--results", required=True, metavar="FILE", help="results.json of the study")
    parser.add_argument("--cost", required=True, metavar="FILE", help="cost.csv of the study")
    parser.add_argument("--typed", required=True, metavar="TEXT", help="the command that makes the table")
    parser.add_argument("--out", required=True, metavar="FILE", help="claims.md")
    parser.add_argument("--out-json", required=True, metavar="FILE", help="claims.json")


def run(args: argparse.Namespace) -> None:
    """Judge each claim and write both files."""
    from pathlib import Path

    from unisono.config.build import from_json
    from unisono.config.claims import Claims
    from unisono.files import read_json, write_json, write_text
    from unisono.score.studies import claims, tables

    section = from_json(Claims, args.claims, "--claims")
    rows = tables.read_cost(Path(args.cost))
    found = claims.evaluate(section, read_json(args.results), tables.timing(rows))
    write_json(args.out_json, found)
    write_text(args.out, claims.table(found, args.typed, rows))
