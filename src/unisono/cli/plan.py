"""Plan a run: its iterations, their workers, and the slice of the frames that each reads."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--config", required=True, metavar="FILE", help="config.json of the run")
    parser.add_argument("--frames", required=True, metavar="FILE", help="frames store of the training data")
    parser.add_argument("--out", required=True, metavar="FILE", help="plan.json")


def run(args: argparse.Namespace) -> None:
    """Write plan.json and warn of settings that contradict the custom."""
    import logging

    from unisono.data.frames import FramesStore
    from unisono.engines.run import read_run
    from unisono.files import read_json
    from unisono.schedule import build_plan, write_plan
    from unisono.sense import warnings

    settings = read_run(args.config)
    logger = logging.getLogger("unisono.plan")
    for line in warnings(read_json(args.config)):
        logger.warning("%s", line)
    with FramesStore(args.frames) as store:
        plan = build_plan(store.lengths.tolist(), settings.schedule, settings.parallel, settings.optimiser.minibatch)
    logger.info(
        "%d iterations over %d frames an epoch, %d to %d workers",
        len(plan.iterations), plan.units, plan.iterations[0].workers, plan.iterations[-1].workers,
    )  # fmt: skip
    write_plan(args.out, plan)
