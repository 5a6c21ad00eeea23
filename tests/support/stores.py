"""Stores of random frames, the order of their units in the plainest way, and batches to fill."""

import numpy as np
import torch

from unisono.data.frames.store_write import write_frames
from unisono.nn.batch import Batch

DIM = 3


def make_store(path, lengths, *, dim=DIM, num_pdfs=7, dtype="float32", seed=0):
    """A store whose frames are random; returns them too, one array per utterance."""
    rng = np.random.default_rng(seed)
    frames = [rng.standard_normal((n, dim)).astype(np.float32) for n in lengths]
    ids = [rng.integers(0, num_pdfs, n).astype(np.int32) for n in lengths]
    items = [(f"utt{i:05d}", x, y) for i, (x, y) in enumerate(zip(frames, ids, strict=True))]
    write_frames(path, items, num_pdfs=num_pdfs, frame_shift_s=0.01, dtype=dtype)
    return frames, ids


def literal_order(order):
    """The order as a list of (utterance, unit), window by window, in the plainest way."""
    listed = []
    for window in order.windows(0, len(order)):
        before = [(p.utterance, t) for p in order.pieces(window) for t in range(p.begin, p.end)]
        listed += [before[k] for k in order.shuffle(window)]
    return listed


def empty(n, width, labels=1):
    """A batch to fill, of what must not stay."""
    mask, before = torch.full((n, labels), np.nan), torch.full((n,), -1)
    return Batch(torch.full((n, width), np.nan), torch.full((n, labels), -1), mask, before)
