"""Evaluate the combined model of an iteration on the diagnostic frames (engine jobs)."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.arguments import add_device
    from unisono.cli.run_files import add_arguments, add_constants

    add_arguments(parser, "config", "plan", "frames-train", "frames-dev")
    add_constants(parser)
    add_device(parser)
    parser.add_argument("--combined", required=True, metavar="FILE", help="combine.safetensors of the iteration")
    parser.add_argument("--state", required=True, metavar="FILE", help="state.json of the iteration")
    parser.add_argument("--out", required=True, metavar="FILE", help="diagnostics.json of the iteration")


def run(args: argparse.Namespace) -> None:
    """Evaluate from files to a file."""
    import logging

    import torch

    from unisono.engines.diagnose import described, diagnose_job
    from unisono.engines.session import open_session

    torch.set_num_threads(args.threads)
    files = (args.config, args.plan, args.frames_train, args.frames_dev)
    with open_session(*files, constants=args.constants, device=args.device) as session:
        found = diagnose_job(session, combined=args.combined, state=args.state, out=args.out)
    logging.getLogger("unisono.diagnose").info("%s", described(found))
