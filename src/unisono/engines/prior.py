"""The prior p(pdf) that decoding divides by: of the training alignment, or the network's own (mathematics.md 4.3)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unisono.config.run import Prior
from unisono.data.frames.store import FramesStore
from unisono.engines import seeds
from unisono.nn.network import Network

SMOOTHING = 0.01  # of the mean count, as in Kaldi's nnet2
PIECE = 512  # frames that are summed at a time
FRAMES = 200_000  # whole utterances until there are so many; Kaldi takes 20,000 chunks of 8


def log_prior(kind: Prior, network: Network, train: FramesStore) -> Tensor:
    """Return log p(pdf) [num_pdfs], float32, of a network that is bound to its parameters.

    `alignment`: from the counts of the training alignment. `posteriors`: from the sums of the posteriors that the
    network gives to training frames, the same frames for every network. 1 % of the mean is added to each.
    """
    counts = train.pdf_counts if kind == "alignment" else posterior_sums(network, train)
    smoothed = counts + SMOOTHING * counts.mean()
    return torch.from_numpy(np.log(smoothed / smoothed.sum())).float()


def posterior_sums(network: Network, train: FramesStore, frames: int = FRAMES) -> npt.NDArray[np.float64]:
    """Return the summed posteriors [num_pdfs] of utterances drawn until they have `frames` frames, or of all."""
    sums = torch.zeros(network.num_pdfs, dtype=torch.float64)
    for utterance in seeds.drawn_utterances(seeds.PRIOR_UTTERANCES, train.lengths, frames):
        whole = torch.from_numpy(train.read(*train.offsets[utterance : utterance + 2].tolist()))
        with torch.no_grad():
            for piece in network.log_posteriors(whole).split(PIECE):
                sums += piece.exp().sum(0, dtype=torch.float64).cpu()
    return sums.numpy()
