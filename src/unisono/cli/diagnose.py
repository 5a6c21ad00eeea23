"""Look at the combined model of an iteration on the diagnostic frames (engine jobs)."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments, add_device

    add_arguments(parser, "config", "plan", "frames-train", "frames-dev")
    add_device(parser)
    parser.add_argument("--combined", required=True, metavar="FILE", help="combine.safetensors of the iteration")
    parser.add_argument("--state", required=True, metavar="FILE", help="state.json of the iteration")
    parser.add_argument("--out", required=True, metavar="FILE", help="diagnostics.json of the iteration")


def run(args: argparse.Namespace) -> None:
    """Evaluate from files to a file."""
    import logging

    import torch

    from unisono.data.frames.store import FramesStore
    from unisono.engines.diagnose import described, diagnose_job
    from unisono.engines.place import place_for
    from unisono.engines.run import read_run
    from unisono.schedule import read_plan

    torch.set_num_threads(args.threads)
    settings = read_run(args.config)
    with FramesStore(args.frames_train) as train, FramesStore(args.frames_dev) as dev:
        found = diagnose_job(
            settings,
            read_plan(args.plan),
            train,
            dev,
            combined_path=args.combined,
            state_path=args.state,
            out=args.out,
            place=place_for(args.device, 0, settings.precision),
        )
    logging.getLogger("unisono.diagnose").info("%s", described(found))
