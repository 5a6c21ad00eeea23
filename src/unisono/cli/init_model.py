"""Write what a run starts from: random parameters, or those of a given model."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    add_arguments(parser, "config", "plan", "frames")
    parser.add_argument("--model", metavar="FILE", help="the model of initialisation.kind: model")
    parser.add_argument("--out", required=True, metavar="FILE", help="init.combine.safetensors")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="init.state.json")


def run(args: argparse.Namespace) -> None:
    """Make the parameters and the state before the first iteration."""
    import torch

    from unisono.data.frames.store import FramesStore
    from unisono.engines.combine import first_state
    from unisono.engines.initial import initial_parameters
    from unisono.engines.run import make_network, read_run
    from unisono.engines.state import save_combined, write_state
    from unisono.schedule import read_plan

    torch.set_num_threads(args.threads)
    settings, plan = read_run(args.config), read_plan(args.plan)
    with FramesStore(args.frames) as store:
        combined, state = first_state(settings, plan, initial_parameters(settings, store, args.model))
        save_combined(args.out, combined, -1, make_network(settings, store).layout)
    write_state(args.out_state, state)
