"""Ranks under MPI: sums in rank order over buffers, in chunks of about 4 MB. mpi4py is imported only here."""

import logging
from collections.abc import Callable, Sequence

import mpi4py
import numpy as np
import torch
from torch import Tensor

mpi4py.rc.thread_level = "multiple"

from mpi4py import MPI  # noqa: E402  (the thread level is read at this import)

from unisono import launch  # noqa: E402
from unisono.engines.heartbeat import Heartbeat  # noqa: E402
from unisono.engines.link import Link  # noqa: E402
from unisono.errors import UserError  # noqa: E402

CHUNK = 1 << 20  # float32 numbers, 4 MB
_BORDER = 16  # parts begin at whole vector registers


class Mpi:
    """All ranks of MPI_COMM_WORLD (or of another communicator), on a communicator of their own."""

    def __init__(self, workers: int, world: MPI.Intracomm = MPI.COMM_WORLD, *, server: bool = False) -> None:
        """Join. Raises UserError unless there is a rank for each worker and for the server, if there is one."""
        self.rank, self.size = world.rank, world.size
        expected = workers + server
        if self.size != expected:
            server_too = f" and a server are {expected} ranks" if server else ""
            alone = ": the launcher may not fit the MPI library (each rank is then alone)" if self.size == 1 else ""
            raise UserError(
                f"parallel.workers: {workers} workers{server_too}, MPI has {self.size} ranks{alone}: start mpirun -n"
                f" {expected}"
            )
        self._comm = world.Dup()
        logging.getLogger("unisono.train").info("rank %d of %d on %s", self.rank, self.size, launch.node())

    def mean(self, vector: Tensor, weights: Sequence[float]) -> Tensor:
        """Return sum_r weights[r] vector_r [P]: each rank adds up its own part of the vector, then all parts travel.

        The sum is float64 in rank order, product and sum rounded apart, so the bits are those of `core.average`.
        """
        own, result = vector.numpy(), torch.empty_like(vector)
        out, size = result.numpy(), self.size
        part = -(-len(own) // (size * _BORDER)) * _BORDER
        begins = [min(rank * part, len(own)) for rank in range(size)]
        lengths = [min(part, len(own) - begin) for begin in begins]
        step = max(_BORDER, CHUNK // size // _BORDER * _BORDER)
        for offset in range(0, part, step):
            counts = [max(0, min(step, length - offset)) for length in lengths]
            places = [begin + min(offset, length) for begin, length in zip(begins, lengths, strict=True)]
            mine = counts[self.rank]
            received = np.empty((size, mine), np.float32)
            sizes = [mine] * size
            self._comm.Alltoallv(
                [own, counts, places, MPI.FLOAT], [received, sizes, [r * mine for r in range(size)], MPI.FLOAT]
            )
            total = np.zeros(mine)
            for rank, weight in enumerate(weights):
                if weight:
                    total += received[rank].astype(np.float64) * weight
            self._comm.Allgatherv([total.astype(np.float32), mine, MPI.FLOAT], [out, counts, places, MPI.FLOAT])
        return result

    def broadcast_(self, vector: Tensor, root: int) -> Tensor:
        """Overwrite `vector` [P] by that of `root`."""
        data = vector.numpy()
        for begin in range(0, len(data), CHUNK):
            self._comm.Bcast(data[begin : begin + CHUNK], root=root)
        return vector

    def exchange(self, vector: Tensor, source: int | None, target: int | None) -> Tensor | None:
        """Send one's vector to `target`, return that of `source`."""
        received = torch.empty_like(vector)
        out, back = vector.numpy(), received.numpy()
        to = MPI.PROC_NULL if target is None else target
        origin = MPI.PROC_NULL if source is None else source
        for begin in range(0, len(out), CHUNK):
            part = slice(begin, begin + CHUNK)
            self._comm.Sendrecv(out[part], to, recvbuf=back[part], source=origin)
        return None if source is None else received

    def gather_records(self, record: np.ndarray) -> np.ndarray:
        """Return each rank's record, [size, n]."""
        data = np.ascontiguousarray(record, dtype=np.float64)
        everyone = np.empty((self.size, len(data)))
        self._comm.Allgather(data, everyone)
        return everyone

    def broadcast_bytes(self, data: bytes, root: int) -> bytes:
        """Return the bytes of `root`."""
        length = np.array([len(data)], dtype=np.int64)
        self._comm.Bcast(length, root=root)
        buffer = np.frombuffer(bytearray(data), np.uint8) if self.rank == root else np.empty(int(length[0]), np.uint8)
        for begin in range(0, len(buffer), 4 * CHUNK):
            self._comm.Bcast(buffer[begin : begin + 4 * CHUNK], root=root)
        return buffer.tobytes()

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._comm.Barrier()

    def link(self) -> Link:
        """Return this rank's end of the messages between server and workers."""
        return Link(self._comm.Dup())

    def heartbeat(self, timeout_s: float, report: Callable[[str], None]) -> Heartbeat:
        """Begin to watch for silent ranks; see `heartbeat`."""
        return Heartbeat(self._comm, timeout_s, report)
