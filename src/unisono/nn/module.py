"""A trained model as an ordinary `torch.nn.Module`; `unisono.load(path)` returns one."""

import os

import torch
from torch import Tensor, nn

from unisono.nn.model_file import Model, load_model, network_of


class AcousticModel(nn.Module):
    """Acoustic model: frames in, log-posteriors of the pdfs out.

    Input: [T, feature_dim] or [N, T, feature_dim], float, unspliced frames of one utterance (or N of the same length),
    computed and normalised as in training. Context is spliced here; the first and last frame are repeated at the edges.
    Output: [T, num_pdfs] or [N, T, num_pdfs], natural logarithms. `log_likelihoods` gives what a decoder searches with.
    `network` is the module that does it, of the model's kind.
    """

    log_prior: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        network = network_of(model.network, constants=model.constants)
        network.bind(model.flat)
        self.feature_dim, self.num_pdfs = network.feature_dim, network.num_pdfs
        self.network = network.module()
        prior = torch.zeros(self.num_pdfs) if model.log_prior is None else model.log_prior
        self.register_buffer("log_prior", prior)

    def forward(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame) for each frame; see the class for shapes."""
        if frames.shape[-1] != self.feature_dim:
            raise ValueError(f"expected frames of {self.feature_dim} numbers, found {frames.shape[-1]}")
        return self.network(frames)

    def log_likelihoods(self, frames: Tensor) -> Tensor:
        """Return log p(frame | pdf) up to a constant a frame: log-posteriors minus `log_prior`; shapes as `forward`."""
        return self(frames) - self.log_prior


def load(path: str | os.PathLike[str]) -> AcousticModel:
    """Load a model file as a module in evaluation mode. Raises UserError for a file that is none."""
    return AcousticModel(load_model(path)).eval()
