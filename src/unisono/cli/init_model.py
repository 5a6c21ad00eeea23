"""Write what a run starts from: random parameters, or those of a given model."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments, add_constants

    add_arguments(parser, "config", "plan", "frames")
    add_constants(parser)
    parser.add_argument("--model", metavar="FILE", help="the model of initialisation.kind: model")
    parser.add_argument("--out", required=True, metavar="FILE", help="init.combine.safetensors")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="init.state.json")


def run(args: argparse.Namespace) -> None:
    """Make the parameters and the state before the first iteration."""
    import torch

    from unisono.engines.initial import initial_parameters
    from unisono.engines.session import open_session
    from unisono.engines.state import write_state
    from unisono.engines.step import first
    from unisono.engines.store import COMBINE, save

    torch.set_num_threads(args.threads)
    with open_session(args.config, args.plan, args.frames, constants=args.constants) as session:
        vectors, state = first(session, initial_parameters(session, args.model))
        save(args.out, vectors.to_write(), COMBINE, session.layout_at(-1), -1)
    write_state(args.out_state, state)
