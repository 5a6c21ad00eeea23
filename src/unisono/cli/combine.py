"""Combine the workers of one iteration (engine jobs): judge, average, filter, set the next rate."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.arguments import add_device
    from unisono.cli.run_files import add_arguments, add_constants

    add_arguments(parser, "config", "plan", "frames-train", "frames-dev", "combined", "state")
    add_constants(parser)
    add_device(parser)
    parser.add_argument("--iteration", required=True, type=int, metavar="I", help="iteration, from 0")
    parser.add_argument("--models", required=True, nargs="+", metavar="FILE", help="the workers' models, in order")
    parser.add_argument("--worker-states", required=True, nargs="+", metavar="FILE", help="their optimiser states")
    parser.add_argument("--stats", required=True, nargs="+", metavar="FILE", help="what they did, JSON")
    parser.add_argument("--out", required=True, metavar="FILE", help="combine.safetensors of this iteration")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="state.json of this iteration")


def run(args: argparse.Namespace) -> None:
    """Combine from files to files."""
    import torch

    from unisono.cli.run_files import check_iteration
    from unisono.engines.jobs import WorkerFiles, combine_job
    from unisono.engines.run import read_run
    from unisono.engines.session import open_session
    from unisono.errors import UserError

    torch.set_num_threads(args.threads)
    if not len(args.models) == len(args.worker_states) == len(args.stats):
        raise UserError("--models, --worker-states and --stats: give as many of each")
    # Vectors are combined on the CPU; a GPU evaluates the model.
    device = "cpu" if read_run(args.config).looks_apart else args.device
    files = (args.config, args.plan, args.frames_train, args.frames_dev)
    with open_session(*files, constants=args.constants, device=device) as session:
        check_iteration(session.plan, args.iteration)
        combine_job(
            session,
            iteration=args.iteration,
            combined=args.combined,
            state=args.state,
            workers=list(map(WorkerFiles, args.models, args.worker_states, args.stats)),
            out=args.out,
            out_state=args.out_state,
        )
