"""Train one worker for one iteration (engine jobs)."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.arguments import add_device
    from unisono.cli.run_files import add_arguments, add_constants

    add_arguments(parser, "config", "plan", "frames", "combined", "state")
    add_constants(parser)
    add_device(parser)
    parser.add_argument("--iteration", required=True, type=int, metavar="I", help="iteration, from 0")
    parser.add_argument("--job", required=True, type=int, metavar="J", help="worker, from 0")
    parser.add_argument("--worker-state", metavar="FILE", help="this worker's optimiser state of the iteration before")
    parser.add_argument("--out-model", required=True, metavar="FILE", help="the worker's model")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="the worker's optimiser state")
    parser.add_argument("--out-stats", required=True, metavar="FILE", help="what the worker did, JSON")


def run(args: argparse.Namespace) -> None:
    """Train from files to files."""
    import torch

    from unisono.cli.run_files import check_iteration
    from unisono.engines.jobs import WorkerFiles, train_job
    from unisono.engines.session import open_session
    from unisono.errors import UserError

    torch.set_num_threads(args.threads)
    files, place = (args.config, args.plan, args.frames), {"device": args.device, "index": args.job}
    with open_session(*files, constants=args.constants, **place) as session:
        check_iteration(session.plan, args.iteration)
        slices = len(session.plan.iterations[args.iteration].slices)
        if not 0 <= args.job < slices:
            raise UserError(f"--job: {args.job}: iteration {args.iteration} has {slices}")
        train_job(
            session,
            iteration=args.iteration,
            slice_=args.job,
            combined=args.combined,
            state=args.state,
            own=args.worker_state,
            out=WorkerFiles(args.out_model, args.out_state, args.out_stats),
        )
