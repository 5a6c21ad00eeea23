"""Pools of processes: order, errors, death."""

import os
import signal

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
