"""What the commands of a training run share: the flags for its files, and the check of an iteration's number."""

import argparse
from typing import TYPE_CHECKING

from unisono.errors import UserError

if TYPE_CHECKING:
    from unisono.schedule import Plan

_FLAGS = {
    "config": "config.json of the run",
    "plan": "plan.json of the run",
    "frames": "frames store of the training data",
    "frames-train": "frames store of the training data",
    "frames-dev": "frames store of the dev data",
    "combined": "combine.safetensors of the iteration before",
    "state": "state.json of the iteration before",
}


def add_arguments(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare some of the run's files, all required."""
    for name in names:
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help=_FLAGS[name])


def add_constants(parser: argparse.ArgumentParser) -> None:
    """Declare the files of what the network holds fixed."""
    words = "what the network holds fixed, and the layers below an RBM, the lowest first"
    parser.add_argument("--constants", nargs="*", default=[], metavar="FILE", help=words)


def check_iteration(plan: "Plan", iteration: int) -> None:
    """Raise UserError for an iteration that the plan does not have."""
    if not 0 <= iteration < len(plan.iterations):
        raise UserError(f"--iteration: {iteration}: the plan has iterations 0 to {len(plan.iterations) - 1}")
