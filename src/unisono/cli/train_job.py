"""Train one worker for one iteration (engine jobs)."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments, add_device

    add_arguments(parser, "config", "plan", "frames", "combined", "state")
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
    from unisono.data.frames.store import FramesStore
    from unisono.engines.jobs import WorkerFiles, train_job
    from unisono.engines.place import place_for
    from unisono.engines.run import read_run
    from unisono.errors import UserError
    from unisono.schedule import read_plan

    torch.set_num_threads(args.threads)
    settings, plan = read_run(args.config), read_plan(args.plan)
    check_iteration(plan, args.iteration)
    if not 0 <= args.job < plan.iterations[args.iteration].workers:
        raise UserError(f"--job: {args.job}: iteration {args.iteration} has {plan.iterations[args.iteration].workers}")
    with FramesStore(args.frames) as store:
        train_job(
            settings,
            plan,
            store,
            iteration=args.iteration,
            worker=args.job,
            combined_path=args.combined,
            state_path=args.state,
            own_state=args.worker_state,
            out=WorkerFiles(args.out_model, args.out_state, args.out_stats),
            place=place_for(args.device, args.job, settings.precision),
        )
