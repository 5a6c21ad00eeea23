"""The one pool: the same task on each shard, in forked processes that inherit data, graphs and models without a copy.

The shards are fixed by the corpus and the results come back in shard order, so what is summed over them never
depends on the number of processes.
"""

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from unisono.errors import UserError

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_task: Callable[[int], Any] | None = None


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent ends, where it offers that; 0: not any more."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def map_shards(
    task: Callable[[int], T], count: int, processes: int, done: Callable[[int], None] = lambda index: None
) -> list[T]:
    """Return [task(0), …, task(count - 1)], computed by up to `processes` processes.

    `done(index)` is called here, in order, when a result has come, so that progress can be shown.
    The FST wheels hold the interpreter's lock while they work, so threads would not help. What `task` changes in
    memory is lost; only what it returns comes back. A process that dies (killed for memory, say) is a UserError. With
    several processes no task runs in this one: a GPU that it had used would be lost to later forks. They end with it,
    also at kill -9: each holds the other end of the pipe that it waits at, so none would see that it is closed.
    """
    global _task
    if processes <= 1 or not count:
        return _collect(map(task, range(count)), done)
    _task = task
    try:
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(min(processes, count), context, _follow, (os.getpid(),)) as pool:
            return _collect(pool.map(_run, range(count)), done)
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError(
            "a worker process was killed, probably for lack of memory: lower --processes or raise corpus.shards"
        ) from None
    finally:
        _task = None


def _follow(parent: int) -> None:
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _collect(results: Iterable[T], done: Callable[[int], None]) -> list[T]:
    found = []
    for index, result in enumerate(results):
        found.append(result)
        done(index)
    return found


def _run(index: int) -> Any:
    if _task is None:
        raise ValueError("the worker process was not forked from map_shards")
    return _task(index)
