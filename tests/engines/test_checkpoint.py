"""Exact resume: killed, interrupted, out of disk or damaged, a run ends at the bits of one that was left alone."""

import contextlib
import io
import logging
import os
import shutil
import signal
import tempfile
import time

import pytest
import torch

from tests.support.miniature import Interrupted, Task, config
from unisono.engines import checkpoint
from unisono.engines.block import Stopped
from unisono.errors import UserError

torch.set_num_threads(1)


@pytest.mark.parametrize("place", [1, 2, 9, 40, 77])
def test_interrupted_at_any_minibatch(task, wanted, place):
    stops = 0
    while True:
        try:
            task.block(interrupted=Interrupted(place))
            break
        except Stopped as stopped:
            stops += 1
            assert "all is saved" in str(stopped)
            if place <= 2:
                place = 25  # the first questions come before any step: such a run would never end
    assert stops and task.finish() == wanted


def test_the_moments_of_checkpoints_do_not_matter(task, wanted):
    task.block(checkpoint_s=0)
    assert task.finish() == wanted


class Disk:
    """Counts the file operations that change something, and fails the n-th."""

    NAMES = (
        (os, "open"), (os, "fsync"), (os, "replace"), (os, "rename"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"),
        (os, "chmod"), (io, "open"), (tempfile, "mkstemp"),
    )  # fmt: skip

    def __init__(self, monkeypatch, fail=0):
        self.count, self.fail, self.active = 0, fail, False
        for module, name in self.NAMES:
            monkeypatch.setattr(module, name, self._wrap(getattr(module, name)))

    def _wrap(self, function):
        def wrapped(*args, **kwargs):
            if self.active:
                self.count += 1
                if self.count == self.fail:
                    raise OSError(28, "No space left on device")
            return function(*args, **kwargs)

        return wrapped


def test_a_checkpoint_that_fails_at_any_file_operation_is_never_a_mixture(tmp_path):
    settings = config(schedule__epochs=1, observers__ema={"decay": 0.8, "start": 0.0}, diagnostics={"frames": 0},
                      parallel__period_frames=200)  # fmt: skip
    wanted = Task(tmp_path / "whole", settings, 20).virtual()
    task = Task(tmp_path / "run", settings, 20)
    assert task.last >= 1
    task.initialise()
    prepare, publish = checkpoint.Checkpoints.prepare, checkpoint.Checkpoints.publish
    operations = failed = 0
    while True:
        operations += 1
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, operations)

            def watched(self, disk=disk):
                disk.active = len(self.newest()) == 1  # the second checkpoint of the run, written over a first
                return prepare(self)

            def unwatched(self, *args, disk=disk):
                found = publish(self, *args)
                disk.active = False
                return found

            patch.setattr(checkpoint.Checkpoints, "prepare", watched)
            patch.setattr(checkpoint.Checkpoints, "publish", unwatched)
            try:
                task.block(checkpoint_s=0)
            except OSError:
                failed += 1
        if disk.count < operations:
            break
        (folder,) = {path.parent for path in task.folder.glob("state/*/ckpt-*")}
        sound = [path for path in folder.glob("ckpt-*") if not checkpoint.damage(path)[0]]
        assert sound and len(sound) == len(list(folder.glob("ckpt-*")))
        task.block()
        assert task.finish() == wanted
        shutil.rmtree(folder)
    assert failed > 20


def test_a_flipped_byte_anywhere_is_detected_and_the_one_before_is_used(task, wanted, caplog):
    with pytest.raises(Stopped):
        task.block(checkpoint_s=0, interrupted=Interrupted(60))
    folders = sorted(task.folder.glob("state/*/ckpt-*"))
    assert len(folders) == checkpoint.KEPT
    for file in sorted(folders[-1].iterdir()):
        content = file.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            reason, _ = checkpoint.damage(folders[-1])
            assert file.name in reason, (file.name, place)
        file.write_bytes(content[:-2])
        assert checkpoint.damage(folders[-1])[0]
        file.write_bytes(content)
        assert checkpoint.damage(folders[-1])[0] == ""
    (damaged,) = folders[-1].glob("*.combine.safetensors")
    with open(damaged, "r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"\x55")
    with caplog.at_level(logging.WARNING, "unisono"):
        logging.getLogger("unisono").propagate = True
        task.block()
    assert f"{folders[-1]} is damaged ({damaged.name}" in caplog.text
    assert task.finish() == wanted


def test_a_damaged_one_is_set_aside_and_two_sound_ones_are_kept(task, wanted):
    with pytest.raises(Stopped):
        task.block(checkpoint_s=0, interrupted=Interrupted(60))
    newest = max(task.folder.glob("state/*/ckpt-*"))
    (newest / "manifest.json").write_text("{}")
    with pytest.raises(Stopped):
        task.block(checkpoint_s=0, interrupted=Interrupted(4))
    kept = sorted(task.folder.glob("state/*/ckpt-*"))
    assert len(kept) == checkpoint.KEPT and [checkpoint.damage(folder)[0] for folder in kept] == ["", ""]
    assert newest.with_name(f"damaged-{newest.name}").is_dir()
    task.block()
    assert task.finish() == wanted


def test_with_every_checkpoint_damaged_the_block_starts_from_its_files(task, wanted):
    with pytest.raises(Stopped):
        task.block(checkpoint_s=0, interrupted=Interrupted(60))
    for folder in task.folder.glob("state/*/ckpt-*"):
        (folder / "manifest.json").write_text("{}")
    task.block()
    assert task.finish() == wanted


def test_another_rate_sets_the_state_aside_and_the_old_one_is_gone_on_from(tmp_path, caplog):
    logging.getLogger("unisono").propagate = True
    task = Task(tmp_path, config())
    task.initialise()
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(40))
    other = Task(tmp_path, config(optimiser__learning_rate=0.002))
    other.initialise()
    with caplog.at_level(logging.INFO, "unisono"):
        other.block()
    assert "optimiser.learning_rate: 0.004 -> 0.002" in caplog.text and "going on" not in caplog.text
    assert other.finish() == Task(tmp_path / "fresh", config(optimiser__learning_rate=0.002)).virtual()
    again = Task(tmp_path, config())
    again.initialise()
    caplog.clear()
    with caplog.at_level(logging.INFO, "unisono"):
        again.block()
    assert "going on from" in caplog.text
    assert again.finish() == Task(tmp_path / "fresh2", config()).virtual()


def test_other_alignments_under_the_same_config_set_the_state_aside(tmp_path, caplog):
    logging.getLogger("unisono").propagate = True
    task = Task(tmp_path, config())
    task.initialise()
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(40))
    from tests.support.miniature import make_store

    make_store(tmp_path / "train.h5", 40, 77)
    changed = Task(tmp_path, config())
    changed.initialise()
    with caplog.at_level(logging.INFO, "unisono"):
        changed.block()
    assert "frames.train" in caplog.text and "going on" not in caplog.text


def test_an_unfinished_run_is_not_left_for_another_number_of_workers(tmp_path, caplog):
    logging.getLogger("unisono").propagate = True
    task = Task(tmp_path, config())
    task.initialise()
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(40))
    (folder,) = tmp_path.glob("state/*")
    other = Task(tmp_path, config(parallel__workers=3))
    other.initialise()
    with pytest.raises(
        UserError, match="parallel.workers: 3, but .* of 2 workers .* set it to 2 .* or delete"
    ) as caught:
        other.block()
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.glob("state/*")) == [folder]  # nothing was begun
    again = Task(tmp_path, config())
    again.initialise()
    again.block()  # the first remedy
    with caplog.at_level(logging.INFO, "unisono"):
        third = Task(tmp_path, config(parallel__workers=3))
        third.initialise()
        third.block()  # the run of 2 workers is finished now: it is in nobody's way
    assert "parallel.workers: 2 -> 3" in caplog.text
    assert third.finish() == Task(tmp_path / "fresh", config(parallel__workers=3)).virtual()


def test_an_unfinished_run_may_be_deleted_to_train_with_another_number_of_workers(tmp_path):
    task = Task(tmp_path, config())
    task.initialise()
    with pytest.raises(Stopped):
        task.block(interrupted=Interrupted(40))
    (folder,) = tmp_path.glob("state/*")
    shutil.rmtree(folder)
    other = Task(tmp_path, config(parallel__workers=3))
    assert other.virtual() == Task(tmp_path / "fresh", config(parallel__workers=3)).virtual()


def test_only_the_newest_process_may_publish(task):
    identity = {"config": 1}
    old = checkpoint.Checkpoints(task.folder / "state", identity)
    prepared = old.prepare()
    (prepared / "file").write_text("x")
    new = checkpoint.Checkpoints(task.folder / "state", identity)
    with pytest.raises(checkpoint.Fenced, match="taken over"):
        prepared.mkdir(exist_ok=True)
        old.publish(prepared, {"iteration": 0, "first": 0})
    assert new.newest() == []
    prepared = new.prepare()
    (prepared / "file").write_text("x")
    assert checkpoint.damage(new.publish(prepared, {"iteration": 0, "first": 0}))[0] == ""


def test_killed_while_an_old_one_is_removed_no_damaged_one_is_left(task, monkeypatch):
    def interrupted(path):
        if (path / "manifest.json").exists():
            (path / "manifest.json").unlink()
            raise KeyboardInterrupt
        os.rmdir(path)

    store = checkpoint.Checkpoints(task.folder / "state", identity := {"config": {}, "plan": "x"})
    monkeypatch.setattr(shutil, "rmtree", lambda path, **options: interrupted(path) if path.exists() else None)
    for number in range(checkpoint.KEPT + 1):
        prepared = store.prepare()
        with pytest.raises(KeyboardInterrupt) if number == checkpoint.KEPT else contextlib.nullcontext():
            store.publish(prepared, {"iteration": number, "first": 0})
    monkeypatch.undo()
    assert [checkpoint.damage(path)[0] for path in store.newest()] == ["", ""]
    again = checkpoint.Checkpoints(task.folder / "state", identity)
    assert not list(again.folder.glob(".old-*")) and len(again.newest()) == checkpoint.KEPT


def test_files_of_another_run_are_refused_by_name(tmp_path):
    task = Task(tmp_path, config(network__hidden=[10]))
    task.initialise()
    other = Task(tmp_path, config())
    with pytest.raises(UserError, match="init.combine.safetensors: is of another network"):
        other.block()
    task.combined(-1).write_bytes(b"rubbish")
    with pytest.raises(UserError, match="init.combine.safetensors: not readable"):
        other.block()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_exits(tmp_path, number):
    settings = config(schedule__epochs=40)
    task = Task(tmp_path / "run", settings)
    task.initialise()
    folder = task.folder
    arguments = [
        "train", "--engine", "virtual", "--config", folder / "config.json", "--plan", folder / "plan.json",
        "--frames-train", folder / "train.h5", "--frames-dev", folder / "dev.h5", "--first", "0", "--last",
        task.last, "--iterations-dir", task.iterations, "--state-dir", folder / "state",
    ]  # fmt: skip
    child = os.fork()
    if child == 0:
        os._exit(_exit_code(list(map(str, arguments))))
    while not list(folder.glob("state/*/lease-*")):
        time.sleep(0.002)
    time.sleep(0.05)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + number
    assert not task.combined(task.last).exists() and list(folder.glob("state/*/ckpt-*"))
    task.block()
    assert task.finish() == Task(tmp_path / "whole", settings).virtual()


def _exit_code(arguments):
    from unisono.__main__ import main

    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code
