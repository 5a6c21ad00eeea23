"""Our own training step, taken a few minibatches at a time, and the products that it cannot do without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.setting import Size, identity, settings
from unisono.data.frames.loader import Slice
from unisono.data.frames.store import FramesStore
from unisono.engines.initial import initial_parameters
from unisono.engines.place import CPU, Place
from unisono.engines.run import make_run
from unisono.engines.session import Session
from unisono.engines.worker import Task
from unisono.nn.dnn import Dnn
from unisono.schedule import build_plan

SGD: dict[str, Any] = {}
SGD_FULL = {"momentum": 0.9, "max_change": {"kind": "nnet3"}}
NG = {"kind": "ng_online", "ng": {"preset": "nnet3", "rank_in": 20, "rank_out": 80, "update_period": 4}}


class Ours:
    """A worker of the engines on one long slice: each call goes on where the last one stopped.

    The shuffling window is as long as a block, so that each block pays for the loading of as much as it trains on.
    """

    def __init__(
        self,
        store_path: Path,
        size: Size,
        optimiser: dict[str, Any],
        place: Place = CPU,
        **sections: Any,
    ) -> None:
        data = {"shuffle_window": size.steps * size.minibatch}
        config = identity(settings(size, **{"optimiser": optimiser, "data": data, **sections}))
        run = make_run(config)
        store = FramesStore(store_path)
        plan = build_plan(store.lengths.tolist(), run.schedule, run.parallel, run.minibatch)
        session = Session(run, config, plan, store, place=place)
        network = session.network
        assert isinstance(network, Dnn)
        self.network = network
        self.worker = session.worker(0)
        self.worker.params.copy_(initial_parameters(session))
        self._loader = session.loader(keep=True)
        self._task = Task(
            0, 0, -1, Slice(0, -1, 0, store.frames), size.minibatch, run.optimiser.learning_rate, 1.0, 0, 1
        )

    def train(self, steps: int) -> None:
        """Train on the next minibatches: read, splice, forward, backward, update. Raises where the data are used up."""
        asked = 0

        def interrupted() -> bool:  # asked once before the first minibatch, and after each
            nonlocal asked
            asked += 1
            return asked > steps

        if self.worker.run(self._task, self._loader, interrupted).complete:
            raise ValueError("the store is too small for so many steps")


def frames_needed(size: Size) -> int:
    """Return the frames of a store that lasts for warm-up and all blocks."""
    return (size.warm_up + (size.blocks + 2) * size.steps) * size.minibatch


def gemm_limit(network: Dnn, rows: int) -> tuple[Callable[[], None], float]:
    """Return the 14 products of a step on the network's own buffers and weights, and their floating-point operations.

    5 forward, 4 of the data gradient, 5 of the weight gradient added into the weights, times a factor so small that
    training is not disturbed. Bias columns are part of the products, as they are in the step.
    """
    room, weights = network._room(rows), network._weights
    inputs: list[Tensor] = room.x
    errors: list[Tensor] = room.errors

    def products() -> None:
        for weight, x, output in zip(weights, inputs, room.outputs, strict=True):
            torch.mm(x, weight.t(), out=output)
        for index in reversed(range(len(weights))):
            if index > 0:
                torch.mm(errors[index], weights[index][:, :-1], out=errors[index - 1])
            weights[index].addmm_(errors[index].t(), inputs[index], alpha=-1e-12)

    forward = sum(2.0 * rows * weight.shape[0] * weight.shape[1] for weight in weights)
    backward = sum(2.0 * rows * weight.shape[0] * (weight.shape[1] - 1) for weight in weights[1:])
    return products, 2 * forward + backward
