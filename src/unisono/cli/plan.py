"""Plan a run: its iterations, their workers, and the slice of the frames that each reads."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    add_arguments(parser, "config", "frames")
    parser.add_argument("--state-dir", metavar="DIR", help="checkpoints of the run, where it has any")
    parser.add_argument(
        "--other-workers", choices=("ignore", "refuse", "redeal"), default="ignore",
        help="an unfinished run of another number of workers in --state-dir: plan anew, end with an error, or go on",
    )  # fmt: skip
    parser.add_argument("--iterations-dir", metavar="DIR", help="states and diagnostics of an earlier training")
    words = "those in --iterations-dir: remove where training starts anew (default: keep)"
    parser.add_argument("--earlier-training", choices=("keep", "remove"), default="keep", help=words)
    parser.add_argument("--out", required=True, metavar="FILE", help="plan.json")


def run(args: argparse.Namespace) -> None:
    """Write plan.json and warn of settings that contradict the custom."""
    import logging
    from pathlib import Path

    from unisono.config.rules import warnings
    from unisono.data.frames.store import FramesStore
    from unisono.engines import redeal
    from unisono.engines.run import read_run
    from unisono.files import read_json
    from unisono.schedule import build_plan, write_plan

    settings = read_run(args.config)
    logger = logging.getLogger("unisono.plan")
    for line in warnings(settings):
        logger.warning("%s", line)
    with FramesStore(args.frames) as store:
        plan, done = None, ()
        if args.state_dir and args.other_workers != "ignore":
            asked = args.other_workers == "redeal"
            plan, done = redeal.plan_for(Path(args.state_dir), read_json(args.config), store.digest, asked)
        if plan is None:
            lengths, minibatch = store.lengths.tolist(), settings.optimiser.minibatch
            plan = build_plan(lengths, settings.schedule, settings.parallel, minibatch, done)
    for change in redeal.changes(plan, settings.parallel.workers):
        logger.warning("from iteration %(iteration)d on: %(to)d workers instead of %(from)d", change)
    logger.info(
        "%d iterations over %d frames an epoch, %d to %d workers",
        len(plan.iterations), plan.units, plan.iterations[0].workers, plan.iterations[-1].workers,
    )  # fmt: skip
    if args.iterations_dir and args.earlier_training == "remove":
        for kind in ("state", "diagnostics"):
            for path in Path(args.iterations_dir).glob(f"[0-9]*.{kind}.json"):
                path.unlink()
    write_plan(args.out, plan)
