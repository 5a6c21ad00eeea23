"""Run by mpirun: each folder given is one run whose block of iterations is trained by as many ranks as it wants."""

import sys
from pathlib import Path

import torch
from mpi4py import MPI

from unisono.data.frames.store import FramesStore
from unisono.engines.block import Block, ranks_of, train_block
from unisono.engines.mpi import Mpi
from unisono.engines.run import read_run
from unisono.files import read_json
from unisono.schedule import read_plan

torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
    run, plan = read_run(folder / "config.json"), read_plan(folder / "plan.json")
    ranks = ranks_of(run)
    part = MPI.COMM_WORLD.Split(int(MPI.COMM_WORLD.rank < ranks), MPI.COMM_WORLD.rank)
    if MPI.COMM_WORLD.rank < ranks:
        block = Block(
            first=0, last=len(plan.iterations) - 1, iterations_dir=folder / "iterations", state_dir=folder / "state",
            checkpoint_s=0.0, interrupted=lambda: False,
        )  # fmt: skip
        with FramesStore(folder / "train.h5") as train, FramesStore(folder / "dev.h5") as dev:
            train_block(run, read_json(folder / "config.json"), plan, train, dev, Mpi(ranks, part), block)
    MPI.COMM_WORLD.Barrier()
