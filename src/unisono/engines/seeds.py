"""What chance is drawn for: each purpose has a number of its own, so that no two draws share a stream.

A generator of a run depends on (seed, purpose, ...) alone; one of the data alone depends on (purpose, ...). The numbers
are part of every result: never change one. The orders of epochs have generators of their own (`data.frames.order`).
"""

import numpy as np
import torch

# Of a run: seed_for(run.seed, ...).
DROPOUT = 1  # then iteration, slice
INITIAL = 3
GROWTH = 4  # then iteration
ARRIVAL = 7  # then iteration, slice
# Of the data alone, the same for every seed: data_generator(...).
DIAGNOSTIC_FRAMES = 2  # then 0 for train, 1 for dev
PRIOR_UTTERANCES = 3
CONSTANTS_UTTERANCES = 4


def seed_for(run_seed: int, *purpose: int) -> int:
    """Return the seed of one purpose within a run."""
    state = np.random.SeedSequence(run_seed, spawn_key=purpose).generate_state(1, np.uint64)
    return int(state[0]) & (2**63 - 1)


def generator_for(run_seed: int, *purpose: int) -> torch.Generator:
    """Return a generator of one purpose within a run."""
    return torch.Generator().manual_seed(seed_for(run_seed, *purpose))


def data_generator(*purpose: int) -> np.random.Generator:
    """Return a generator of one purpose that is the same in every run."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(0, spawn_key=purpose)))


def drawn_utterances(purpose: int, lengths: np.ndarray, frames: int) -> list[int]:
    """Return utterances, ascending, drawn until they have so many frames, or all: the same in every run."""
    drawn = data_generator(purpose).permutation(len(lengths))
    enough = int(np.searchsorted(np.cumsum(lengths[drawn]), frames)) + 1
    return np.sort(drawn[:enough]).tolist()
