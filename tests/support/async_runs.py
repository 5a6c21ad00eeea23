"""Run by mpirun: each folder given is one run that a server and as many workers as it wants train."""

import sys
import time
from functools import partial
from pathlib import Path

import torch
from mpi4py import MPI

from unisono.engines import asynchronous
from unisono.engines.block import Block
from unisono.engines.mpi import Mpi
from unisono.engines.session import open_session


def slowed(seconds):
    """Take a while over each minibatch, and go on."""
    time.sleep(seconds)
    return False


torch.set_num_threads(1)
world = MPI.COMM_WORLD
for folder in map(Path, sys.argv[1:]):
    files = [folder / name for name in ("config.json", "plan.json", "train.h5", "dev.h5")]
    with open_session(*files) as session:
        ranks, last = session.most_workers + 1, len(session.plan.iterations) - 1
        part = world.Split(int(world.rank < ranks), world.rank)
        if world.rank < ranks:
            for first, end in ((0, last // 2), (last // 2 + 1, last)):
                # The last worker is slow, and there is a checkpoint now and then.
                block = Block(
                    first=first, last=end, iterations_dir=folder / "iterations", state_dir=folder / "state",
                    checkpoint_s=0.2, interrupted=partial(slowed, 0.002 * (world.rank == ranks - 1)),
                )  # fmt: skip
                asynchronous.train(session, block, Mpi(ranks - 1, part, server=True))
    world.Barrier()
