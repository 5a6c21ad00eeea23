"""Where networks compute: on the CPU, or on one of the GPUs that this process can see.

What a GPU trains is the same mathematics in another order of rounding: it agrees with the CPU within a tolerance, never
to the bit (docs/gpu.md). Vectors come from the CPU at the start of a slice and go back to it at the end, through pinned
memory. They are combined on the CPU; the result is looked at where workers compute.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.products import Precision, allow_tf32
from unisono.data.frames.resident import Resident, bytes_needed
from unisono.data.frames.store import FramesStore
from unisono.errors import UserError
from unisono.units import TrainingUnit

Device = Literal["auto", "cpu", "cuda"]
# Open MPI, MPICH and Intel MPI, Slurm's srun: which of its node's ranks a process is.
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID")
_SHARE = 0.5  # of the free memory of a GPU that frames may take


class Place(NamedTuple):
    """A device and how a step goes there.

    deferred: no step waits for the device; a slice's numbers are read at its end (`core.number`). Always so on a GPU.
    """

    device: torch.device
    deferred: bool

    @property
    def is_gpu(self) -> bool:
        """Whether this is a GPU."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The GPU's model, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else self.device.type

    def host_vector(self, size: int) -> Tensor:
        """Return zeros [size], float32, on the host; pinned where a GPU will fetch them."""
        return torch.zeros(size, pin_memory=True) if self.is_gpu else flat.zeros(size)

    def own_vector(self, host: Tensor) -> Tensor:
        """Return the vector that is trained: `host` itself, or one of its size on the device."""
        return torch.zeros_like(host, device=self.device) if self.deferred else host

    def resident(self, store: FramesStore, unit: TrainingUnit) -> Resident | None:
        """Return the store on the GPU if half of the free memory there is enough for it; else, and on a CPU, None."""
        if not self.is_gpu or bytes_needed(store, unit) > _SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return None
        return Resident(store, unit, self.device)


CPU = Place(torch.device("cpu"), deferred=False)


def check(device: Device) -> None:
    """Raise UserError where a GPU is demanded and none is visible. CUDA is not started, so that forks still may."""
    if device == "cuda" and not torch.cuda.device_count():
        raise UserError(
            "resources.device: cuda: no GPU is visible: look at nvidia-smi, CUDA_VISIBLE_DEVICES and whether torch was"
            " installed with CUDA, or take auto"
        )


def place_for(device: Device, index: int, precision: Precision) -> Place:
    """Return where worker or local rank `index` computes. Raises UserError where a GPU is demanded and none is there.

    auto: a GPU where one is visible. cuda: a GPU. Several workers take turns: index modulo the visible GPUs.
    """
    check(device)
    visible = 0 if device == "cpu" else torch.cuda.device_count()
    if not visible:
        return CPU
    number = index % visible
    allow_tf32(precision)
    torch.cuda.set_device(number)
    return Place(torch.device("cuda", number), deferred=True)


def local_rank(environ: Mapping[str, str], rank: int) -> int:
    """Return which of its node's ranks this process is, as the launcher says; without a launcher, its rank."""
    said = next((environ[name] for name in LOCAL_RANKS if environ.get(name, "").isdecimal()), None)
    return rank if said is None else int(said)
