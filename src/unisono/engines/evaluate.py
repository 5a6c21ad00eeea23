"""Diagnostics: a model's objective on fixed frames, summed in float64 in a fixed order, by one process or many."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from unisono.data.frames.order import Piece
from unisono.data.frames.store import FramesStore
from unisono.data.frames.units import listed
from unisono.data.frames.window import Window, load_units
from unisono.engines import seeds
from unisono.engines.comm import Comm
from unisono.engines.session import Session
from unisono.units import TrainingUnit

BATCH = 512  # frames; a result depends on it, so it is no option
SUBSETS = ("objective_train", "objective_dev", "frame_accuracy")
KEYS = (*SUBSETS, "free_energy_gap", "objective_dev_full", "frame_accuracy_full")  # all that may be found


class Evaluates(Protocol):
    """Whatever finds out how good a model is: `Evaluator`, or a server that lets a worker do it."""

    def evaluate(self, params: Tensor, *, iteration: int, whole_dev: bool) -> dict[str, float | None]:
        """Return what `Evaluator.evaluate` does."""
        ...


class Split:
    """The training units of a store, counted over all its utterances."""

    def __init__(self, store: FramesStore, unit: TrainingUnit) -> None:
        self.store, self._unit = store, unit
        self._offsets = np.cumsum([0, *unit.count(store.lengths.tolist())])
        self.units = int(self._offsets[-1])

    def subset(self, split: int, frames: int) -> np.ndarray:
        """Return units, ascending, with at least so many frames that count, or all: whatever the seed of the run is."""
        count = -(-frames // self._unit.width)
        if not count:
            return np.arange(0)
        while count < self.units:
            generator = seeds.data_generator(seeds.DIAGNOSTIC_FRAMES, split)
            drawn = np.sort(generator.choice(self.units, count, replace=False, shuffle=False))
            missing = frames - int(listed(self._pieces(drawn), self.store.lengths, self._unit).mask.sum())
            if missing <= 0:
                return drawn
            count += -(-missing // self._unit.width)
        return np.arange(self.units)

    def load(self, units: np.ndarray) -> Window:
        """Load ascending units."""
        return load_units(self.store, self._pieces(units), self._unit)

    def _pieces(self, units: np.ndarray) -> list[Piece]:
        """Return ascending units as runs within utterances."""
        utterances = np.searchsorted(self._offsets, units, side="right") - 1
        breaks = np.flatnonzero((np.diff(units) != 1) | (np.diff(utterances) != 0)) + 1
        runs = zip([0, *breaks.tolist()], [*breaks.tolist(), len(units)], strict=True)
        pieces = []
        for begin, end in runs:
            first = int(self._offsets[utterances[begin]])
            pieces.append(Piece(int(utterances[begin]), int(units[begin]) - first, int(units[end - 1]) + 1 - first))
        return pieces


class Means(NamedTuple):
    """Means over frames; None where they are not finite, or where the network has no such thing."""

    objective: float | None
    accuracy: float | None
    free_energy: float | None


class Evaluator:
    """Evaluates parameter vectors on fixed subsets of train and dev frames, and on the whole of dev.

    Batch k is computed by rank k mod size; the sums run over batches in order, so they do not depend on the size.
    """

    def __init__(self, session: Session, comm: Comm) -> None:
        self._session, self._comm = session, comm
        self.network = session.network
        unit = self.network.unit
        self._train, self._dev = Split(session.train, unit), Split(session.dev_frames(), unit)
        self.frames = session.run.diagnostics.frames
        self._size = max(1, BATCH // unit.width)
        self._train_batches = self._batches(self._train.subset(0, self.frames))
        self._dev_batches = self._batches(self._dev.subset(1, self.frames))
        self._cache: dict[tuple[str, int], Window] = {}

    def evaluate(self, params: Tensor, *, iteration: int, whole_dev: bool) -> dict[str, float | None]:
        """Return objective_train, objective_dev, frame_accuracy (dev) of the subsets; with `whole_dev` two more.

        params: [P], as `iteration` trains them.

        objective_dev_full, frame_accuracy_full: over all dev frames. None: not finite, or no frames. A network with a
        free energy also has free_energy_gap, that of dev minus that of train. Collective: every rank calls it and gets
        the same.
        """
        found: dict[str, float | None] = dict.fromkeys(SUBSETS)
        self.network = self._session.network_at(iteration)
        self.network.bind(params.to(self._session.place.device))
        if self.frames:
            train = self._mean(self._train, self._train_batches, keep="train")
            dev = self._mean(self._dev, self._dev_batches, keep="dev")
            found["objective_train"], found["objective_dev"] = train.objective, dev.objective
            found["frame_accuracy"] = dev.accuracy
            if train.free_energy is not None and dev.free_energy is not None:
                found["free_energy_gap"] = dev.free_energy - train.free_energy
        if whole_dev:
            whole = self._mean(self._dev, self._batches(np.arange(self._dev.units)), keep="")
            found["objective_dev_full"], found["frame_accuracy_full"] = whole.objective, whole.accuracy
        return found

    def _mean(self, split: Split, batches: Sequence[np.ndarray], keep: str) -> Means:
        rank, size = self._comm.rank, self._comm.size
        rows = -(-len(batches) // size)
        sums = np.zeros((rows, 4))
        for row, number in enumerate(range(rank, len(batches), size)):
            sums[row] = self._batch(split, batches[number], (keep, number))
        everyone = self._comm.gather_records(sums.reshape(-1)).reshape(size, rows, 4)
        total = np.zeros(4)
        for number in range(len(batches)):
            total += everyone[number % size, number // size]
        objective, accuracy, energy = (float(value) for value in total[:3] / total[3])
        if not np.isfinite(objective):
            return Means(None, None, None)
        has_labels = self.network.classifies
        return Means(objective, accuracy if has_labels else None, energy if np.isfinite(energy) else None)

    def _batch(self, split: Split, units: np.ndarray, key: tuple[str, int]) -> tuple[float, float, float, int]:
        window = self._cache.get(key)
        if window is None:
            window = split.load(units)
            if key[0]:
                self._cache[key] = window
        batch = self.network.buffers(len(window))
        frames = window.gather(0, len(window), batch)
        found = self.network.evaluate(batch)
        energy = math.nan if found.free_energy is None else found.free_energy
        return float(found.objective_sum), float(found.correct), energy, frames

    def _batches(self, units: np.ndarray) -> list[np.ndarray]:
        return [units[begin : begin + self._size] for begin in range(0, len(units), self._size)]
