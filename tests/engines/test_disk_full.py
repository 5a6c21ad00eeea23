"""A disk that fills up at any write: the error names it, what was there stays whole, with space the same bytes come."""

import contextlib
import errno
import os
import subprocess

import numpy as np
import pytest
import torch

from unisono.data.frames.store import FramesStore
from unisono.data.frames.store_write import write_frames

torch.set_num_threads(1)
PAGE = 4  # kilobytes: what a tmpfs gives away at a time


class Disk:
    """A tmpfs of a few pages."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def __enter__(self):
        done = subprocess.run(["mount", "-t", "tmpfs", "none", self.folder], capture_output=True)
        if done.returncode:
            pytest.skip("no tmpfs: not root")
        return self

    def __exit__(self, *ignored):
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def resize(self, pages):
        size = f"{pages * PAGE}k" if pages else "64m"
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    def used(self):
        facts = os.statvfs(self.folder)
        return (facts.f_blocks - facts.f_bfree) * facts.f_frsize // (PAGE << 10)

    def clear(self):
        for path in [*self.folder.rglob("*")]:
            if not path.is_dir():
                path.unlink()


def full(action):
    """Say whether the disk was full; nothing else may go wrong."""
    try:
        action()
    except OSError as error:
        assert error.errno == errno.ENOSPC and error.filename, error
        return True
    return False


@pytest.mark.parametrize("cases", [8, pytest.param(1000, marks=pytest.mark.slow)])
def test_checkpoints(task, wanted, cases):
    with Disk(task.folder / "state") as disk:
        task.block(checkpoint_s=0)
        assert task.finish() == wanted
        most, failed = disk.used(), 0
        assert most > 5
        for pages in range(1, 2 * most, max(1, most // cases)):
            for path in [*task.iterations.glob("[0-9]*"), *task.iterations.glob(".*")]:
                path.unlink()
            disk.resize(None)
            disk.clear()
            disk.resize(pages)
            if not full(lambda: task.block(checkpoint_s=0)):
                break
            failed += 1
            disk.resize(None)
            task.block(checkpoint_s=0)
            assert task.finish() == wanted, pages
        assert failed > 5


def utterances():
    rng = np.random.default_rng(0)
    for number in range(30):
        yield f"u{number:02}", rng.standard_normal((40, 6)).astype("f4"), rng.integers(0, 5, 40)


def test_the_frames_store(tmp_path):
    def write(folder):
        write_frames(folder / "train.h5", utterances(), num_pdfs=5, frame_shift_s=0.01, dtype="float32")

    write(tmp_path)
    whole = (tmp_path / "train.h5").read_bytes()
    with Disk(tmp_path / "disk") as disk:
        failed = 0
        for pages in range(1, 200):
            disk.resize(pages)
            if not full(lambda: write(disk.folder)):
                break
            failed += 1
            assert not (disk.folder / "train.h5").exists(), "half a store has its name"
            disk.clear()
        assert failed > 5
        assert (disk.folder / "train.h5").read_bytes() == whole
        with contextlib.closing(FramesStore(disk.folder / "train.h5")) as store:
            assert len(store.lengths) == 30
