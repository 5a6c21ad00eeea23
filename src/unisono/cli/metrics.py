"""Put the numbers of all iterations of a run together: metrics.jsonl."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    add_arguments(parser, "plan")
    words = "folder of all {i}.state.json and {i}.diagnostics.json"
    parser.add_argument("--iterations-dir", required=True, metavar="DIR", help=words)
    parser.add_argument("--out", required=True, metavar="FILE", help="metrics.jsonl")


def run(args: argparse.Namespace) -> None:
    """Write the metrics."""
    from pathlib import Path

    from unisono.engines.metrics import write_metrics
    from unisono.schedule import read_plan

    write_metrics(read_plan(args.plan), Path(args.iterations_dir), Path(args.out))
