"""An unfinished run goes on with another number of workers, if asked: every frame once, and the change recorded."""

import json
import logging
import shutil

import pytest
import torch

from tests.support.miniature import TENANTS, Interrupted, Task, config, make_store
from tests.support.ranks import arguments
from unisono.__main__ import main
from unisono.engines.block import Stopped
from unisono.errors import UserError
from unisono.schedule import read_plan

torch.set_num_threads(1)
SETTINGS = {"schedule__epochs": 3, "parallel__period_frames": 200, "parallel__combine": "bmuf_nesterov"}


@pytest.fixture(autouse=True)
def own_logging():
    """Put the logger back as it was: a command writes to the stderr of its own test."""
    logger = logging.getLogger("unisono")
    before = logger.handlers[:], logger.propagate
    yield
    logger.handlers[:], logger.propagate = before


def stopped(folder, place, workers=2, **changes):
    """A run that was interrupted at the place-th question, within an iteration; None: killed between two."""
    task = Task(folder, config(**SETTINGS | {"parallel__workers": workers} | changes))
    task.initialise()
    if place is None:
        with pytest.raises(ZeroDivisionError):
            task.block(checkpoint_s=0, after=lambda state: 1 / (ckpts(task) < 2))
    else:
        with pytest.raises(Stopped):
            task.block(interrupted=Interrupted(place), checkpoint_s=0)
    return task


def ckpts(task):
    return len(list(task.folder.glob("state/*/ckpt-*")))


def ckpt_iteration(task):
    """The last iteration that is in the newest checkpoint."""
    return json.loads((max(task.folder.glob("state/*/ckpt-*")) / "manifest.json").read_text())["iteration"]


def command(*words):
    logging.getLogger("unisono").handlers[:] = []
    return main(list(map(str, words)))


def redealt(folder, workers):
    """Deal an unfinished run anew; the command's exit code."""
    return command("redeal", folder, "--workers", workers)


def planned(folder, workers, **changes):
    """The run with other workers, as the rule `plan` plans it; the command's exit code."""
    task = Task(folder, config(**SETTINGS | {"parallel__workers": workers} | changes))
    flags = {"config": folder / "config.json", "frames": folder / "train.h5", "out": folder / "plan.json"}
    if (folder / "redeal.json").exists():
        flags["redealt"] = folder / "redeal.json"
    code = command("plan", *(part for name, value in flags.items() for part in (f"--{name}", value)))
    task.plan = read_plan(folder / "plan.json")
    return task, code


def going_on(folder, workers, **changes):
    """An unfinished run that was dealt anew and planned."""
    assert redealt(folder, workers) == 0
    task, code = planned(folder, workers, **changes)
    assert code == 0
    return task


def counted(task):
    """Frames in the ledger over those of the corpus."""
    ledger = json.loads((task.folder / "ledger.json").read_text())
    total = sum(own["seen"] + own["discarded"] for own in ledger["workers"].values())
    assert all(own["dropped"] == own["repeated"] == 0 for own in ledger["workers"].values())
    return total / task.train.frames


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (2, 4, {"optimiser__kind": "ng_online", "observers__ema": {"decay": 0.8, "start": 0.1}}),
        (4, 2, {"parallel__combine": "butterfly"}),
        (3, 1, {"parallel__carry_state": "average"}),
        (2, 3, TENANTS["growing"]),
    ],
)
@pytest.mark.parametrize("place", [70, 120, None])
def test_what_is_left_is_dealt_anew(tmp_path, before, after, changes, place):
    old = stopped(tmp_path, place, before, **changes)
    task = going_on(tmp_path, after, **changes)
    counts = [iteration.workers for iteration in task.plan.iterations]
    begin = counts.index(after)
    assert begin >= 1 and counts == [before] * begin + [after] * (len(counts) - begin)
    assert [i.slices for i in task.plan.iterations[:begin]] == [i.slices for i in old.plan.iterations[:begin]]
    for epoch in range(3):  # each position of each order once
        slices = [s for it in task.plan.iterations if it.epoch == epoch for s in it.slices]
        assert [a for a, _ in slices] == [0, *(b for _, b in slices[:-1])] and slices[-1][1] == task.train.frames
    task.initialise()
    task.block()
    task.finish()
    assert counted(task) == 3
    facts = task.facts()
    assert facts["redealt"] == [{"iteration": begin, "from": before, "to": after}]
    assert task.read_state(begin - 1).diagnostics  # what was done is still there
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {r["worker"] for r in rows if r["iteration"] == begin} == {None, *range(after)}


def test_stopped_again_it_ends_at_the_same_bits_and_planned_again_it_keeps_its_plan(tmp_path):
    stopped(tmp_path / "a", 60)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy2)
    whole = going_on(tmp_path / "a", 3)
    whole.block()
    task = going_on(tmp_path / "b", 3)
    plan = task.plan
    for place in (3, 40, 30):
        with pytest.raises(Stopped):
            task.block(interrupted=Interrupted(place))
        task, _ = planned(tmp_path / "b", 3)
        assert task.plan == plan
    task.block()
    assert task.finish() == whole.finish()


@pytest.mark.mpi
def test_ranks_go_on_like_virtual_workers(tmp_path, mpirun, root):
    for name in ("virtual", "sync"):
        stopped(tmp_path / name, None)
    virtual = going_on(tmp_path / "virtual", 3)
    virtual.block()
    task = going_on(tmp_path / "sync", 3)
    done = mpirun(3, arguments(task), env={"PYTHONPATH": str(root / "src")})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "with 3 workers" in done.stderr and task.finish() == virtual.finish()


def test_blocks_that_were_done_stay(tmp_path):
    first = Task(tmp_path, config(**SETTINGS))
    first.initialise()
    first.block(last=2)
    with pytest.raises(Stopped):
        first.block(first=3, interrupted=Interrupted(40), checkpoint_s=0)
    task = going_on(tmp_path, 4)
    task.initialise()
    task.block()
    task.finish()
    assert counted(task) == 3


def test_it_is_refused_by_name_unless_it_is_asked_for(tmp_path, capfd):
    stopped(tmp_path, 90)
    other, code = planned(tmp_path, 3)
    assert code == 0
    other.initialise()
    with pytest.raises(
        UserError, match="parallel.workers: 3, but .* of 2 workers .* set it to 2 .* or delete"
    ) as caught:
        other.block()
    assert f"`unisono redeal {tmp_path} --workers 3`" in str(caught.value) and "\n" not in str(caught.value)


def refusal(code, capfd):
    assert code == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    return line


def test_the_config_must_say_the_number_that_was_dealt(tmp_path, capfd):
    stopped(tmp_path, 90)
    assert redealt(tmp_path, 3) == 0
    capfd.readouterr()
    _, code = planned(tmp_path, 4)
    assert "parallel.workers: 4, but" in (line := refusal(code, capfd)) and "to 3: set it to 3" in line
    _, code = planned(tmp_path, 3, optimiser__learning_rate=0.002)
    assert "optimiser.learning_rate: 0.004 -> 0.002" in refusal(code, capfd)
    make_store(tmp_path / "train.h5", 40, 77)
    _, code = planned(tmp_path, 3)
    assert "the training frames" in refusal(code, capfd)
    (tmp_path / "redeal.json").write_text("{}")
    _, code = planned(tmp_path, 3)
    assert "redeal.json: not of format unisono.redeal/1" in refusal(code, capfd)


def test_what_cannot_be_dealt_anew_is_one_line(tmp_path, capfd):
    jobs = Task(tmp_path / "jobs")
    jobs.jobs()
    assert "only the engines virtual and sync" in refusal(redealt(jobs.folder, 3), capfd)
    ramp = stopped(tmp_path / "ramp", 90, {"initial": 1, "final": 3})
    assert "not a ramp" in refusal(redealt(ramp.folder, 3), capfd)
    same = stopped(tmp_path / "same", 90)
    assert "--workers: 2: the run has that many already" in refusal(redealt(same.folder, 2), capfd)
    assert "--workers: 0: give 1 or more" in refusal(redealt(same.folder, 0), capfd)
    early = stopped(tmp_path / "early", 2)
    assert "no iteration is done" in refusal(redealt(early.folder, 3), capfd)
    whole = Task(tmp_path / "whole")
    whole.virtual()
    assert "training is finished" in refusal(redealt(whole.folder, 3), capfd)
    assert not list(tmp_path.glob("*/redeal.json"))


def test_dealt_anew_again(tmp_path):
    stopped(tmp_path, 60)
    task = going_on(tmp_path, 3)
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(90), checkpoint_s=0)
    again = going_on(tmp_path, 4)
    again.initialise()
    again.block()
    again.finish()
    assert counted(again) == 3 and [change["to"] for change in again.facts()["redealt"]] == [3, 4]


def test_more_workers_than_minibatches_are_left_is_said(tmp_path, capfd):
    before = stopped(tmp_path, None, schedule__epochs=1)
    left = before.train.frames - before.plan.iterations[ckpt_iteration(before)].slices[-1][1]
    minibatches = -(-left // before.plan.minibatch)
    assert redealt(tmp_path, minibatches + 1) == 0
    _, code = planned(tmp_path, minibatches + 1, schedule__epochs=1)
    line = capfd.readouterr().err
    assert code == 2 and f"what is left of the epoch has only {minibatches} minibatches" in line


def test_a_fixed_deal_goes_on_at_the_end_of_an_epoch_only(tmp_path, capfd):
    old = stopped(tmp_path / "a", 90, parallel__dealing="fixed")
    assert not old.plan.iterations[0].end_of_epoch
    assert redealt(tmp_path / "a", 3) == 2 and "fixed deals whole epochs" in capfd.readouterr().err
    whole = Task(tmp_path / "b", config(**SETTINGS | {"parallel__dealing": "fixed"}))
    whole.initialise()
    whole.block(last=next(it.iteration for it in whole.plan.iterations if it.end_of_epoch))
    task = going_on(tmp_path / "b", 3, parallel__dealing="fixed")
    task.initialise()
    task.block()
    task.finish()
    assert counted(task) == 3


def test_a_checkpoint_that_is_gone_is_named(tmp_path):
    stopped(tmp_path, 90)
    task = going_on(tmp_path, 3)
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(UserError, match="no checkpoint of iteration .* delete redeal.json and plan.json"):
        task.block()
