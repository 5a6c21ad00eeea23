"""What is refused before training starts, through the commands: exit 2 and one line with what, where, remedy."""

import json
import logging

import pytest
import torch

from tests.support.miniature import Task, config
from unisono.__main__ import main

torch.set_num_threads(1)
BUTTERFLY = {"kind": "butterfly"}


@pytest.fixture(autouse=True)
def own_logging():
    """Put the logger back as it was: a command writes to the stderr of its own test."""
    logger = logging.getLogger("unisono")
    before = logger.handlers[:], logger.propagate
    yield
    logger.handlers[:], logger.propagate = before


def refused(capfd, *arguments):
    """Run a command that must end with one line; return that line."""
    logging.getLogger("unisono").handlers[:] = []
    assert main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith(f"unisono {arguments[0]}: error: "), lines
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"parallel__period_frames": 31}, "parallel.period_frames: 31 is less than one optimiser.minibatch of 32"),
        ({"parallel__dealing": "fixed", "parallel__workers": 41}, "at least one utterance, there are only 40"),
        ({"parallel__dealing": "fixed", "parallel__workers": {"initial": 1, "final": 3}}, "cannot grow from 1 to 3"),
        ({"parallel__combine": BUTTERFLY, "parallel__workers": 6}, "butterfly needs a power of two of workers, not 6"),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_one_line(tmp_path, capfd, changes, line):
    task = Task(tmp_path)
    settings = tmp_path / "wrong.json"
    settings.write_text(json.dumps(config(**changes)))
    plan = tmp_path / "wrong.plan.json"
    found = refused(capfd, "plan", "--config", settings, "--frames", task.train.path, "--out", plan)
    assert line in found and not plan.exists()


def test_a_model_of_another_layout_is_one_line(tmp_path, capfd):
    first = Task(tmp_path / "a", config(schedule__epochs=1))
    first.virtual()
    capfd.readouterr()
    path = tmp_path / "a/final.safetensors"
    start = {"kind": "model", "path": str(path)}
    task = Task(tmp_path / "b", config(initialisation=start, network__hidden=[16, 13]))
    out = tmp_path / "init"
    found = refused(
        capfd, "init-model", "--config", task.folder / "config.json", "--plan", task.folder / "plan.json", "--frames",
        task.train.path, "--model", path, "--out", out, "--out-state", tmp_path / "init.json",
    )  # fmt: skip
    assert str(path) in found and "another network" in found and not out.exists()
