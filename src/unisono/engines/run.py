"""What decides one training run: its config."""

import os
from typing import Any

from unisono.config.build import build
from unisono.config.rules import check_run
from unisono.config.run import Run
from unisono.config.stack import class_of_run
from unisono.files import read_json


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run's config.json. Raises UserError naming what does not fit."""
    return make_run(read_json(path))


def make_run(config: dict[str, Any]) -> Run:
    """Build a run from its complete config. Raises UserError naming what does not fit."""
    run: Run = build(class_of_run(config), config, "config")
    check_run(run)
    return run
