"""Pools of processes: order, errors, death."""

import os
import signal
import subprocess
import sys
import time

import pytest

from unisono.errors import UserError
from unisono.processes import map_shards


@pytest.mark.parametrize("processes", [0, 1, 2, 5])
def test_results_come_in_shard_order(processes):
    assert map_shards(lambda index: index * index, 4, processes) == [0, 1, 4, 9]


@pytest.mark.parametrize("count", [1, 3])
def test_several_processes_compute_nothing_in_this_one(count):
    """What a task does to its process, such as starting CUDA, must not be inherited by later ones."""
    assert os.getpid() not in map_shards(lambda index: os.getpid(), count, 2)
    assert set(map_shards(lambda index: os.getpid(), count, 1)) == {os.getpid()}


def test_no_shards_give_no_results():
    assert map_shards(lambda index: index, 0, 2) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_user_errors_come_through(processes):
    def task(index):
        raise UserError(f"shard {index}: wrong")

    with pytest.raises(UserError, match="shard 0: wrong"):
        map_shards(task, 2, processes)


def test_a_killed_process_is_named():
    with pytest.raises(UserError, match="worker process was killed"):
        map_shards(lambda index: os.kill(os.getpid(), signal.SIGKILL), 2, 2)


POOL = r"""
import os, time
from unisono.processes import map_shards
def task(index):
    os.write(1, f"{os.getpid()}\n".encode())  # in one piece: both write to one pipe
    time.sleep(60 * index)  # one works, one waits for work
map_shards(task, 2, 2)
"""


def alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_process_outlives_the_pool_whose_owner_is_killed():
    owner = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    numbers = [int(owner.stdout.readline()) for _ in range(2)]
    assert len(set(numbers)) == 2 and all(map(alive, numbers))
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, numbers)):
        assert time.monotonic() < deadline, "they wait for work that never comes"
        time.sleep(0.05)
    owner.stdout.close()
