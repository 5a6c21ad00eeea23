"""The look at a combined model in a job of its own finds what a combination finds, and belongs to its iteration."""

import json

import pytest
import torch

from tests.support.miniature import Task, config, scripted
from unisono.__main__ import main
from unisono.engines.diagnose import described, with_diagnostics
from unisono.engines.store import Folder
from unisono.errors import UserError

torch.set_num_threads(1)
SUBSETS = ("objective_train", "objective_dev", "frame_accuracy")


def command(task, i, out):
    names = {"config": "config.json", "plan": "plan.json", "frames-train": "train.h5", "frames-dev": "dev.h5"}
    flags = [word for flag, name in names.items() for word in (f"--{flag}", str(task.folder / name))]
    files = ["--combined", str(task.combined(i)), "--state", str(task.state(i)), "--out", str(out)]
    return ["diagnose", "--device", "cpu", *flags, *files]


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would hold for other tests
    return Task(tmp_path, config())


def test_it_finds_what_a_combination_finds(task, tmp_path):
    task.virtual()
    wanted = [task.read_state(i).diagnostics for i in range(task.last + 1)]
    task.jobs()
    ends = [iteration.iteration for iteration in task.plan.iterations if iteration.end_of_epoch]
    assert len(ends) == 2 and len({found["objective_dev"] for found in wanted}) == len(wanted) > 3
    for i, found in enumerate(wanted):
        assert task.read_state(i).diagnostics is None
        assert main(command(task, i, tmp_path / "out.json")) == 0
        value = json.loads((tmp_path / "out.json").read_text())
        assert (value["iteration"], value["diagnostics"]) == (i, found) and value["seconds"] > 0
        assert ("objective_dev_full" in found) == (i in ends)
        state = with_diagnostics(task.read_state(i), task.files)
        value = json.loads((task.iterations / f"{i}.diagnostics.json").read_text())
        assert state.diagnostics == found and state.seconds["evaluate"] == value["seconds"] > 1e-4
        assert with_diagnostics(state, Folder(tmp_path / "nowhere")) is state


def test_where_training_needs_the_answer_the_combination_evaluates(tmp_path, monkeypatch):
    """Newbob goes back and stops as in one process; the model that was judged is the one that metrics tell of."""
    left = scripted(monkeypatch, [-2.0, -1.0, -1.5, -1.4])
    task = Task(tmp_path, config(schedule__kind="newbob", schedule__epochs=6, parallel__period_frames=450))
    assert not task.run.looks_apart
    task.jobs()
    by_jobs = combined_rows(task)
    assert all(task.read_state(i).diagnostics is not None for i in range(task.last + 1))
    assert not list(task.iterations.glob("*.diagnostics.json"))
    task.virtual()
    assert [row["objective_dev_full"] for row in by_jobs if "objective_dev_full" in row] == [-2.0, -1.0, -1.5, -1.4]
    assert by_jobs == combined_rows(task) and not left
    assert len(by_jobs) <= task.last and described(task.read_state(task.last)) == "not evaluated"


def combined_rows(task):
    return [row for row in task.metrics() if row["worker"] is None]


def test_what_nobody_looked_at_is_unknown(task):
    task.jobs()
    (task.iterations / "1.diagnostics.json").unlink()
    task.finish()
    found = {row["iteration"]: [row[key] for key in SUBSETS] for row in combined_rows(task)}
    assert found[1] == [None] * 3 and None not in found[0] + found[2]


def test_files_of_different_iterations_are_refused(task, tmp_path, capsys):
    task.jobs()
    words = command(task, 1, tmp_path / "out.json")
    words[words.index("--state") + 1] = str(task.state(0))
    assert main(words) == 2 and "1.combine.safetensors: of iteration 1" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
    (task.iterations / "0.diagnostics.json").rename(task.iterations / "1.diagnostics.json")
    with pytest.raises(UserError, match=r"1\.diagnostics\.json: not of format unisono.diagnostics/1 and iteration 1"):
        task.finish()


def test_a_state_beyond_the_plan_is_refused(task, tmp_path, capsys):
    task.jobs()
    state = json.loads(task.state(task.last).read_text())
    task.state(task.last).write_text(json.dumps(state | {"iteration": 99}))
    assert main(command(task, task.last, tmp_path / "out.json")) == 2
    assert "of iteration 99, the plan has" in capsys.readouterr().err
