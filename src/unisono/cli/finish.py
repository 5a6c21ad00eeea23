"""End a run: its candidate models, the final model with provenance, and the frame ledger."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.arguments import add_device
    from unisono.cli.run_files import add_arguments, add_constants

    add_arguments(parser, "config", "plan", "frames-train", "frames-dev")
    add_constants(parser)
    add_device(parser)
    parser.add_argument("--combined", required=True, metavar="FILE", help="combine.safetensors of the last iteration")
    parser.add_argument("--iterations-dir", required=True, metavar="DIR", help="folder of all {i}.state.json")
    parser.add_argument("--models-dir", required=True, metavar="DIR", help="folder for the candidate models")
    parser.add_argument("--out", required=True, metavar="FILE", help="final.safetensors")
    parser.add_argument("--out-info", required=True, metavar="FILE", help="final.json: where the model comes from")
    parser.add_argument("--engine", required=True, metavar="NAME", help="config key parallel.engine, for final.json")
    parser.add_argument("--ledger", required=True, metavar="FILE", help="ledger.json")


def run(args: argparse.Namespace) -> None:
    """Write the results of a run."""
    from pathlib import Path

    import torch

    from unisono.engines.finish import Outputs, finish
    from unisono.engines.session import open_session

    torch.set_num_threads(args.threads)
    out = Outputs(*map(Path, (args.models_dir, args.out, args.out_info, args.ledger)))
    files = (args.config, args.plan, args.frames_train, args.frames_dev)
    with open_session(*files, constants=args.constants, device=args.device) as session:
        finish(session, combined=args.combined, iterations_dir=Path(args.iterations_dir), engine=args.engine, out=out)
