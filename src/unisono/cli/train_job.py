"""Train one worker for one iteration (engine jobs)."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--config", required=True, metavar="FILE", help="config.json of the run")
    parser.add_argument("--plan", required=True, metavar="FILE", help="plan.json of the run")
    parser.add_argument("--frames", required=True, metavar="FILE", help="frames store of the training data")
    parser.add_argument("--iteration", required=True, type=int, metavar="I", help="iteration, from 0")
    parser.add_argument("--job", required=True, type=int, metavar="J", help="worker, from 0")
    parser.add_argument("--combined", required=True, metavar="FILE", help="combine.safetensors of the iteration before")
    parser.add_argument("--state", required=True, metavar="FILE", help="state.json of the iteration before")
    parser.add_argument("--worker-state", metavar="FILE", help="this worker's optimiser state of the iteration before")
    parser.add_argument("--out-model", required=True, metavar="FILE", help="the worker's model")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="the worker's optimiser state")
    parser.add_argument("--out-stats", required=True, metavar="FILE", help="what the worker did, JSON")


def run(args: argparse.Namespace) -> None:
    """Train from files to files."""
    import torch

    from unisono.data.frames import FramesStore
    from unisono.engines.jobs import WorkerFiles, train_job
    from unisono.engines.run import read_run
    from unisono.errors import UserError
    from unisono.schedule import read_plan

    torch.set_num_threads(args.threads)
    settings, plan = read_run(args.config), read_plan(args.plan)
    if not 0 <= args.iteration < len(plan.iterations):
        raise UserError(f"--iteration: {args.iteration}: the plan has iterations 0 to {len(plan.iterations) - 1}")
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
        )
