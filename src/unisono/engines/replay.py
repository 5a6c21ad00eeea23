"""Steps without the cost of launching: on a GPU the kernels of a step are captured once (CUDA graph) and then replayed.

A small network's step is some hundred kernels of a few microseconds each; started one by one, the GPU would wait for
the host. Captured are only steps in which the host decides nothing: those between the updates of natural gradient, of
one minibatch size. All others, and everything on a CPU, are taken eagerly, by the same code.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

import torch

from unisono.nn.batch import StepStats

Step = Callable[[], StepStats]


class Captured(Protocol):
    """A captured step; its results lie in the same tensors each time."""

    stats: StepStats

    def replay(self) -> None:
        """Do the step again, on what its tensors hold by now."""
        ...


class CudaGraph:
    """A step captured on the current CUDA device. Capturing does not do it.

    generator: what the step draws from; each replay draws the numbers that follow those of the step before.
    """

    def __init__(self, generator: torch.Generator, step: Step) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        # The loader's thread may pin memory meanwhile: only this thread is held to the rules of capturing.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self.stats = step()

    def replay(self) -> None:
        """Do the step again."""
        self._graph.replay()


class Replay:
    """Takes steps of one worker and keeps the capture of those that repeat."""

    def __init__(self, skip: Callable[[], None], capture: Callable[[Step], Captured] | None) -> None:
        """skip: told of each step that Python did not see. capture: None where every step is eager."""
        self._skip, self._capture = skip, capture
        self._key: Hashable = None
        self._captured: Captured | None = None
        self._step: Step | None = None

    def take(self, step: Step, key: Hashable) -> StepStats:
        """Do `step` and return its stats; they hold until the next call.

        key: names the work and its storage; None where it does not repeat. The first step of a key is done eagerly,
        which also warms up the libraries; the second is captured, and replayed from then on.
        """
        if key is None or self._capture is None:
            return step()
        if key != self._key:
            self._key, self._captured, self._step = key, None, None
            return step()
        if self._captured is None:
            # The step holds its minibatch, so that the storage that the key names is given to nothing else.
            self._captured, self._step = self._capture(step), step
        else:
            self._skip()
        self._captured.replay()
        return self._captured.stats
