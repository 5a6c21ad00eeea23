"""How far training is: what the files of each engine say, against metrics.jsonl and the clock."""

import functools
import json
import os
import shutil
import time

import pytest

from unisono.desk.training import read_training_state
from unisono.engines.state import note_progress


def expected(task):
    """The combined models' dev objective and the frames of each iteration, from metrics.jsonl."""
    rows = [row for row in task.metrics() if row["worker"] is None]
    return [row["objective_dev"] for row in rows], [row["frames"] for row in rows]


def check(task, found):
    objectives, frames = expected(task)
    assert [step.objective_dev for step in found.steps] == objectives
    assert [step.frames for step in found.steps] == frames
    assert found.total == found.done == len(task.plan.iterations) and found.finished
    assert found.last_objective() == objectives[-1]
    assert found.change() == pytest.approx(objectives[-1] - objectives[-2])


def test_jobs(task):
    task.jobs()
    check(task, read_training_state(task.folder))
    for number in range(task.last + 1):  # two seconds from one combination to the next
        os.utime(task.state(number), (1000 + 2 * number,) * 2)
    found = read_training_state(task.folder)
    _, frames = expected(task)
    recent = frames[-min(5, task.last) :]
    assert found.frames_per_s == pytest.approx(sum(recent) / (2 * len(recent)))
    assert found.seconds_left == 0


def test_while_it_runs(task):
    task.initialise()
    assert read_training_state(task.folder).done == 0 and read_training_state(task.folder).seconds_left is None
    for i in range(3):
        for j in range(task.plan.iterations[i].workers):
            task.train_worker(i, j)
        task.combine(i)
    task.diagnose(0)
    now = time.time()
    for number in range(3):
        os.utime(task.state(number), (now + 10 * number,) * 2)
    found = read_training_state(task.folder)
    assert found.done == 3 and not found.finished
    assert found.steps[0].objective_dev is not None and found.steps[2].objective_dev is None
    assert found.last_objective() == found.steps[0].objective_dev and found.change() is None
    assert found.seconds_left == pytest.approx(10 * (len(task.plan.iterations) - 3))
    os.utime(task.state(-1), (now + 100,) * 2)
    assert read_training_state(task.folder).steps == [], "what is older than the first model is of another training"


def after(task, told):
    def call(state):
        told.append(state.iteration)
        note_progress(task.iterations / "progress.jsonl", state)

    return call


def test_virtual_block_is_seen_before_its_end(task):
    task.initialise()
    told = []

    def interrupted():
        return len(told) == 2

    with pytest.raises(Exception, match="stopped in iteration"):
        task.block(after=after(task, told), interrupted=interrupted, checkpoint_s=0)
    found = read_training_state(task.folder)
    assert told == [0, 1] and found.done == 2 and not found.finished and found.frames_per_s
    assert not task.state(0).exists()
    with (task.iterations / "progress.jsonl").open("a") as file:
        file.write('{"iteration": 2, "ti')  # killed while it wrote
    assert read_training_state(task.folder).done == 2
    text = (task.iterations / "progress.jsonl").read_text().rpartition("\n")[0] + "\n"
    (task.iterations / "progress.jsonl").write_text(text)
    task.block(after=after(task, told))
    task.finish()
    check(task, read_training_state(task.folder))


def test_iterations_that_are_said_again_replace_those_before(task):
    task.initialise()
    task.block(after=after(task, []))
    path = task.iterations / "progress.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for number in range(task.last + 1):
        task.state(number).unlink()
    path.write_text("".join([*lines, lines[0], lines[1]]))
    assert read_training_state(task.folder).done == 2


@pytest.mark.mpi
def test_sync(task, mpirun, root):
    task.initialise()
    flags = {
        "config": task.folder / "config.json", "plan": task.folder / "plan.json",
        "frames-train": task.folder / "train.h5",
        "frames-dev": task.folder / "dev.h5", "first": 0, "last": task.last, "iterations-dir": task.iterations,
        "state-dir": task.folder / "state",
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    done = mpirun(2, ["-m", "mpi4py", "-m", "unisono", "train", "--engine", "sync", *words])
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (task.iterations / "progress.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(task.last + 1)), "one rank writes"
    task.finish()
    check(task, read_training_state(task.folder))


def test_nothing_there(tmp_path):
    found = read_training_state(tmp_path)
    assert (found.total, found.done, found.finished, found.last_objective()) == (None, 0, False, None)


def test_damaged_files_count_as_not_there(task):
    task.jobs()
    task.state(1).write_text("{")
    found = read_training_state(task.folder)
    assert [step.iteration for step in found.steps] == [0]
    (task.folder / "plan.json").write_text("[]")
    assert read_training_state(task.folder).total is None


def test_the_plan_decides_how_many_count(task):
    task.jobs()
    read = functools.partial(read_training_state, task.folder)
    shutil.copy(task.state(task.last), task.iterations / f"{task.last + 1}.state.json")
    text = (task.iterations / f"{task.last + 1}.state.json").read_text()
    text = text.replace(f'"iteration": {task.last}', f'"iteration": {task.last + 1}')
    (task.iterations / f"{task.last + 1}.state.json").write_text(text)
    assert read().done == task.last + 1
