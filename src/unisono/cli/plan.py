"""Plan a run: its iterations, their workers, and the slice of the frames that each reads."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.run_files import add_arguments

    add_arguments(parser, "config", "frames")
    parser.add_argument("--redealt", metavar="FILE", help="redeal.json of the run, where `unisono redeal` wrote one")
    parser.add_argument("--out", required=True, metavar="FILE", help="plan.json")


def run(args: argparse.Namespace) -> None:
    """Write plan.json and warn of settings that contradict the custom."""
    import logging

    from unisono.config.rules import warnings
    from unisono.data.frames.store import FramesStore
    from unisono.engines import combined, growth, redeal
    from unisono.engines.run import read_run
    from unisono.files import read_json
    from unisono.iterations import done_of, read_redeal
    from unisono.schedule import build_plan, write_plan

    settings = read_run(args.config)
    logger = logging.getLogger("unisono.plan")
    for line in warnings(settings):
        logger.warning("%s", line)
    with FramesStore(args.frames) as store:
        done = ()
        if args.redealt:
            done = done_of(args.redealt, settings.parallel.workers)
            redeal.check_run(read_redeal(args.redealt), args.redealt, read_json(args.config), store.digest)
        plan = build_plan(
            store.lengths.tolist(), settings.schedule, settings.parallel, settings.minibatch, done,
            settings.network.unit, settings.insertions,
        )  # fmt: skip
        growth.check(settings, plan)
        combined.check(settings, plan)
    for change in redeal.changes(plan, settings.parallel.workers):
        logger.warning("from iteration %(iteration)d on: %(to)d workers instead of %(from)d", change)
    logger.info(
        "%d iterations over %d frames an epoch, %d to %d workers",
        len(plan.iterations), plan.frames, plan.iterations[0].workers, plan.iterations[-1].workers,
    )  # fmt: skip
    write_plan(args.out, plan)
