"""Run by mpirun: each folder given is one run whose block of iterations is trained by as many ranks as it wants."""

import sys
from pathlib import Path

import torch
from mpi4py import MPI

from unisono.engines import sync
from unisono.engines.block import Block
from unisono.engines.mpi import Mpi
from unisono.engines.session import open_session

torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
    files = [folder / name for name in ("config.json", "plan.json", "train.h5", "dev.h5")]
    with open_session(*files, constants=list(folder.glob("constants.safetensors"))) as session:
        ranks = session.most_workers
        part = MPI.COMM_WORLD.Split(int(MPI.COMM_WORLD.rank < ranks), MPI.COMM_WORLD.rank)
        if MPI.COMM_WORLD.rank < ranks:
            block = Block(
                first=0, last=len(session.plan.iterations) - 1, iterations_dir=folder / "iterations",
                state_dir=folder / "state", checkpoint_s=0.0, interrupted=lambda: False,
            )  # fmt: skip
            sync.train(session, block, Mpi(ranks, part))
    MPI.COMM_WORLD.Barrier()
