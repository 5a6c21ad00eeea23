"""Estimate the constants of a network on training frames: the transform of its input, scales of its softmax's input."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    parser.add_argument(
        "--options", required=True, metavar="JSON", help="context, transform and prior_power of network"
    )
    add_arguments(parser, "frames")
    parser.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the constants."""
    import torch

    from unisono.config.build import from_json
    from unisono.config.transform import ConstantsOptions
    from unisono.data.frames.store import FramesStore
    from unisono.engines import constants

    torch.set_num_threads(args.threads)
    options = from_json(ConstantsOptions, args.options, "--options")
    with FramesStore(args.frames) as store:
        constants.save(args.out, constants.estimate(options, store))
