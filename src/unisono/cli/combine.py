"""Combine the workers of one iteration (engine jobs): judge, average, filter, set the next rate."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments, add_device

    add_arguments(parser, "config", "plan", "frames-train", "frames-dev", "combined", "state")
    add_device(parser)
    parser.add_argument("--iteration", required=True, type=int, metavar="I", help="iteration, from 0")
    parser.add_argument("--models", required=True, nargs="+", metavar="FILE", help="the workers' models, in order")
    parser.add_argument("--worker-states", required=True, nargs="+", metavar="FILE", help="their optimiser states")
    parser.add_argument("--stats", required=True, nargs="+", metavar="FILE", help="what they did, JSON")
    words = "now: look at the diagnostic frames as well; later: leave that to `unisono diagnose`"
    parser.add_argument("--diagnostics", choices=("now", "later"), default="now", help=words)
    parser.add_argument("--out", required=True, metavar="FILE", help="combine.safetensors of this iteration")
    parser.add_argument("--out-state", required=True, metavar="FILE", help="state.json of this iteration")


def run(args: argparse.Namespace) -> None:
    """Combine from files to files."""
    import torch

    from unisono.cli.run_files import check_iteration
    from unisono.data.frames.store import FramesStore
    from unisono.engines.jobs import WorkerFiles, combine_job
    from unisono.engines.place import CPU, place_for
    from unisono.engines.run import read_run
    from unisono.errors import UserError
    from unisono.schedule import read_plan

    torch.set_num_threads(args.threads)
    settings, plan = read_run(args.config), read_plan(args.plan)
    if not len(args.models) == len(args.worker_states) == len(args.stats):
        raise UserError("--models, --worker-states and --stats: give as many of each")
    check_iteration(plan, args.iteration)
    looks = args.diagnostics == "now" or settings.keeps_best  # vectors are combined on the CPU
    files = [WorkerFiles(*paths) for paths in zip(args.models, args.worker_states, args.stats, strict=True)]
    with FramesStore(args.frames_train) as train, FramesStore(args.frames_dev) as dev:
        combine_job(
            settings,
            plan,
            train,
            dev,
            iteration=args.iteration,
            combined_path=args.combined,
            state_path=args.state,
            workers=files,
            out=args.out,
            out_state=args.out_state,
            place=place_for(args.device, 0, settings.precision) if looks else CPU,
            diagnose=args.diagnostics == "now",
        )
