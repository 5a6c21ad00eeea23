"""The path of the data: from a store in the page cache to minibatches of spliced frames, without any training."""

from functools import partial
from pathlib import Path

import torch

from benchmarks.ours import SGD, Ours, frames_needed
from benchmarks.setting import Size, identity, settings, write_store
from benchmarks.timing import Results, paired, pinned, put, ratio, spread
from unisono.data.frames.loader import Loader, Slice
from unisono.data.frames.store import FramesStore


def measure(folder: Path, size: Size) -> Results:
    """Return data_over_training, frames per second over frames per second, and data_frames_per_s."""
    torch.set_num_threads(1)
    results: Results = {}
    write_store(folder / "data.h5", size.data_frames, size.pdfs)
    write_store(folder / "steps.h5", frames_needed(size), size.pdfs)
    window = identity(settings(size))["data"]["shuffle_window"]
    with pinned(), FramesStore(folder / "data.h5") as store:
        training = Ours(folder / "steps.h5", size, SGD)
        training.train(size.warm_up)

        def read() -> None:
            """Read a whole epoch, its order and its windows included, into the network's own input buffer."""
            with Loader(store, training.network.unit, seed=1, window=window) as loader:
                part = Slice(0, -1, 0, store.frames)
                for _ in loader.minibatches(part, size.minibatch, training.network.buffers):
                    pass

        read()
        seconds = paired({"data": read, "training": partial(training.train, size.steps)}, size.blocks)
        per_frame = [s / store.frames for s in seconds["data"]]
    trained = [s / (size.steps * size.minibatch) for s in seconds["training"]]
    put(results, "data_over_training", ratio(trained, per_frame))
    put(results, "data_frames_per_s", spread([1 / s for s in per_frame]))
    return results
