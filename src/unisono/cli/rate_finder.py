"""Try learning rates on a few thousand frames from a run's own start, draw the objective and suggest a rate.

Each rate is tried with the run's optimiser and number of workers. The suggestion is printed, and nothing else is done
with it.
"""

import argparse
from pathlib import Path

EXAMPLE = """example:
  snakemake --cores 2 --configfile mine.yaml results/mine/runs/main/iterations/init.combine.safetensors
  unisono rate-finder results/mine/runs/main
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from unisono.cli.arguments import add_device

    parser.epilog = EXAMPLE
    parser.add_argument("run", metavar="RUN", help="folder of the run, results/<name>/runs/<run>, trained or not")
    parser.add_argument("--frames", type=int, default=4096, metavar="N", help="frames of each worker (default 4096)")
    parser.add_argument("--lowest", type=float, metavar="RATE", help="default: the config's rate over 64")
    parser.add_argument("--highest", type=float, metavar="RATE", help="default: 64 times the config's rate")
    parser.add_argument("--steps", type=int, default=13, metavar="N", help="rates to try (default 13)")
    parser.add_argument("--out", default="rates.svg", metavar="FILE", help="the picture, SVG or PNG (rates.svg)")
    add_device(parser)


def run(args: argparse.Namespace) -> None:
    """Try, print, draw."""
    import torch

    from unisono.engines import rate_finder
    from unisono.engines.session import open_session
    from unisono.engines.store import COMBINE, Folder, Stored
    from unisono.score.plots import rates

    torch.set_num_threads(args.threads)
    folder = Path(args.run)
    start, frames = _start(folder), folder.parent.parent / "frames"
    stores = (frames / "train.h5", frames / "dev.h5")
    with open_session(folder / "config.json", folder / "plan.json", *stores, device=args.device) as session:
        config = session.run.optimiser.learning_rate
        grid = rate_finder.grid(args.lowest or config / 64, args.highest or config * 64, args.steps)
        model = Stored(Folder(start.parent).combined(-1), COMBINE, session.layout_at(-1), -1).take("model")
        begun = rate_finder.objective_of(session, model)
        tried = []
        print(f"{'rate':>10}  dev objective (start: {_number(begun)})")
        for one in rate_finder.try_rates(session, model, grid, args.frames):
            tried.append(one)
            print(f"{one.rate:10.3g}  {_number(one.objective)}", flush=True)
        workers = session.plan.iterations[0].workers
    suggestion = rate_finder.suggested(tried, begun)
    rates(args.out, [one._asdict() for one in tried], begun, config, suggestion)
    told = "no rate was better than the start: lower --lowest, or raise --frames" if suggestion is None else (
        f"suggestion: optimiser.learning_rate: {suggestion:.2g}, half of the lowest that gains 90 % of what the best"
        f" does on {args.frames} frames of each of {workers} workers (the config says {config:g})"
    )  # fmt: skip
    print(f"{told}\n{args.out}")


def _start(folder: Path) -> Path:
    """Return the run's first model. Raises UserError where it is not made yet."""
    from unisono.errors import UserError

    path = folder / "iterations" / "init.combine.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: no such file: make it: snakemake --cores 1 --configfile CONFIG {path}")
    return path


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
