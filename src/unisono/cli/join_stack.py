"""Join a finished stack of RBMs into the model that training starts from."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    add_arguments(parser, "config", "frames")
    parser.add_argument("--layers", required=True, nargs="+", metavar="FILE", help="models of the RBMs, lowest first")
    parser.add_argument("--out", required=True, metavar="FILE", help="model file to write")


def run(args: argparse.Namespace) -> None:
    """Write the model."""
    from unisono.data.frames.store import FramesStore
    from unisono.engines.join import join
    from unisono.engines.run import read_run

    with FramesStore(args.frames) as store:
        join(read_run(args.config), store, args.layers, args.out)
