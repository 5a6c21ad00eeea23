"""Diagnostics: a model's objective on fixed frames, summed in float64 in a fixed order, by one process or many."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from unisono.data.frames.order import Piece
from unisono.data.frames.store import FramesStore, spliced
from unisono.engines import seeds
from unisono.engines.comm import Comm
from unisono.engines.session import Session
from unisono.nn.batch import Batch

BATCH = 512  # frames; a result depends on it, so it is no option
SUBSETS = ("objective_train", "objective_dev", "frame_accuracy")
FULL = ("objective_dev_full", "frame_accuracy_full")


class Evaluates(Protocol):
    """Whatever finds out how good a model is: `Evaluator`, or a server that lets a worker do it."""

    def evaluate(self, params: Tensor, *, whole_dev: bool) -> dict[str, float | None]:
        """Return what `Evaluator.evaluate` does."""
        ...


class Evaluator:
    """Evaluates parameter vectors on fixed subsets of train and dev frames, and on the whole of dev.

    Batch k is computed by rank k mod size; the sums run over batches in order, so they do not depend on the size.
    """

    def __init__(self, session: Session, comm: Comm) -> None:
        self.network, self._comm, self._device = session.network, comm, session.place.device
        self._train, self._dev = session.train, session.dev_frames()
        self.frames = session.run.diagnostics.frames
        self._train_batches = _batches(_subset(self._train, 0, self.frames))
        self._dev_batches = _batches(_subset(self._dev, 1, self.frames))
        self._cache: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def evaluate(self, params: Tensor, *, whole_dev: bool) -> dict[str, float | None]:
        """Return objective_train, objective_dev, frame_accuracy (dev) of the subsets; with `whole_dev` two more.

        objective_dev_full, frame_accuracy_full: over all dev frames. None: not finite, or no frames. Collective:
        every rank calls it and gets the same.
        """
        found: dict[str, float | None] = dict.fromkeys(SUBSETS)
        self.network.bind(params.to(self._device))
        if self.frames:
            found["objective_train"], _ = self._mean(self._train, self._train_batches, keep="train")
            found["objective_dev"], found["frame_accuracy"] = self._mean(self._dev, self._dev_batches, keep="dev")
        if whole_dev:
            batches = _batches(np.arange(self._dev.frames))
            found["objective_dev_full"], found["frame_accuracy_full"] = self._mean(self._dev, batches, keep="")
        return found

    def _mean(self, store: FramesStore, batches: Sequence[np.ndarray], keep: str) -> tuple[float | None, float | None]:
        rank, size = self._comm.rank, self._comm.size
        rows = -(-len(batches) // size)
        sums = np.zeros((rows, 3))
        for row, number in enumerate(range(rank, len(batches), size)):
            sums[row] = self._batch(store, batches[number], (keep, number))
        everyone = self._comm.gather_records(sums.reshape(-1)).reshape(size, rows, 3)
        objective = correct = frames = 0.0
        for number in range(len(batches)):
            part = everyone[number % size, number // size]
            objective, correct, frames = objective + part[0], correct + part[1], frames + part[2]
        mean = objective / frames
        return (float(mean), float(correct / frames)) if np.isfinite(mean) else (None, None)

    def _batch(self, store: FramesStore, frames: np.ndarray, key: tuple[str, int]) -> tuple[float, int, int]:
        if key not in self._cache:
            loaded = spliced(store, _pieces(store, frames), self.network.context)
            if key[0]:
                self._cache[key] = loaded
        else:
            loaded = self._cache[key]
        x, ids = loaded
        buffer = self.network.input_buffer(len(ids))
        buffer.copy_(x)
        found = self.network.evaluate(Batch(buffer.unsqueeze(1), ids.to(self._device).unsqueeze(1), None))
        return float(found.objective_sum), int(found.correct), found.frames


def _batches(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[begin : begin + BATCH] for begin in range(0, len(frames), BATCH)]


def _subset(store: FramesStore, split: int, count: int) -> np.ndarray:
    """Return `count` (or all) frames of the store, ascending: the same for every seed, so that curves compare."""
    if count >= store.frames:
        return np.arange(store.frames)
    generator = seeds.data_generator(seeds.DIAGNOSTIC_FRAMES, split)
    return np.sort(generator.choice(store.frames, count, replace=False, shuffle=False))


def _pieces(store: FramesStore, frames: np.ndarray) -> list[Piece]:
    """Return ascending frames of the store as runs within utterances."""
    utterances = np.searchsorted(store.offsets, frames, side="right") - 1
    breaks = np.flatnonzero((np.diff(frames) != 1) | (np.diff(utterances) != 0)) + 1
    runs = zip([0, *breaks.tolist()], [*breaks.tolist(), len(frames)], strict=True)
    pieces = []
    for begin, end in runs:
        first = int(store.offsets[utterances[begin]])
        pieces.append(Piece(int(utterances[begin]), int(frames[begin]) - first, int(frames[end - 1]) + 1 - first))
    return pieces
