"""Write the course of training for TensorBoard, MLflow or Weights & Biases (offline), afterwards or while it runs.

The config's section `logging` does the same while a run trains. Then: `tensorboard --logdir RESULTS/runs`, `mlflow ui
--backend-store-uri sqlite:///RESULTS/mlflow.db`, or `wandb sync RESULTS/wandb/offline-run-*`.
"""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  unisono log results/mine --tensorboard
  unisono log results/mine --mlflow --wandb
"""
EVERY_S = 1.0


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("results", metavar="RESULTS", type=Path, help="results/<name>")
    parser.add_argument("--tensorboard", action="store_true", help="event files in runs/<run>/tensorboard/")
    parser.add_argument("--mlflow", action="store_true", help="runs in mlflow.db")
    parser.add_argument("--wandb", action="store_true", help="offline runs of Weights & Biases in wandb/")
    parser.add_argument("--until-eof", action="store_true", help="again and again until the standard input ends")


def run(args: argparse.Namespace) -> None:
    """Read and write, once or until the end."""
    import select
    import sys

    from unisono.config.logging import LIBRARIES
    from unisono.desk.events import Events
    from unisono.errors import UserError

    names = [name for name in LIBRARIES if getattr(args, name)]
    if not names:
        raise UserError(f"{args.results}: for which program? missing: --tensorboard, --mlflow or --wandb")
    if not args.until_eof and not list(args.results.glob("runs/*/config.json")):
        raise UserError(f"{args.results}: no runs in it: give results/<name>")
    events = Events(args.results, names)
    while args.until_eof and not select.select([sys.stdin], [], [], EVERY_S)[0]:
        events.look()
    count = events.look()
    events.close()
    if not args.until_eof:
        print(f"{count} numbers of {args.results} written for {', '.join(names)}")
