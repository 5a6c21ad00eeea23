"""A trained model as an ordinary `torch.nn.Module`; `unisono.load(path)` returns one."""

import os
from functools import partial

import torch
from torch import Tensor, nn

from unisono.core import flat
from unisono.nn.activation import pnorm, relu_renorm
from unisono.nn.model_file import Model, load_model


class AcousticModel(nn.Module):
    """Feed-forward acoustic model: frames in, log-posteriors of the pdfs out.

    Input: [T, feature_dim] or [N, T, feature_dim], float, unspliced frames of one utterance (or N of the same length),
    computed and normalised as in training. Context is spliced here; the first and last frame are repeated at the edges.
    Output: [T, num_pdfs] or [N, T, num_pdfs], natural logarithms. `log_likelihoods` gives what a decoder searches with.
    """

    log_prior: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        network = model.network
        self.feature_dim: int = network["feature_dim"]
        self.num_pdfs: int = network["num_pdfs"]
        self.context: tuple[int, int] = tuple(network["context"])
        self.layers = nn.ModuleList()
        for matrix in flat.views(model.layout, model.flat).values():
            rows, columns = matrix.shape
            layer = nn.Linear(columns - 1, rows)
            with torch.no_grad():
                layer.weight.copy_(matrix[:, :-1])
                layer.bias.copy_(matrix[:, -1])
            self.layers.append(layer)
        kinds = {"relu": torch.relu, "relu_renorm": relu_renorm, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
        grouped = partial(pnorm, group=network.get("group", 1))
        self.nonlinearity = grouped if network["kind"] == "pnorm" else kinds[network["nonlinearity"]]
        prior = torch.zeros(self.num_pdfs) if model.log_prior is None else model.log_prior
        self.register_buffer("log_prior", prior)

    def forward(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame) for each frame; see the class for shapes."""
        if frames.shape[-1] != self.feature_dim:
            raise ValueError(f"expected frames of {self.feature_dim} numbers, found {frames.shape[-1]}")
        left, right = self.context
        count = frames.shape[-2]
        places = (
            torch.arange(-left, right + 1, device=frames.device) + torch.arange(count, device=frames.device)[:, None]
        )
        values = frames[..., places.clamp(0, count - 1), :].flatten(-2)
        for layer in self.layers[:-1]:
            values = self.nonlinearity(layer(values))
        return torch.log_softmax(self.layers[-1](values), dim=-1)

    def log_likelihoods(self, frames: Tensor) -> Tensor:
        """Return log p(frame | pdf) up to a constant a frame: log-posteriors minus `log_prior`; shapes as `forward`."""
        return self(frames) - self.log_prior


def load(path: str | os.PathLike[str]) -> AcousticModel:
    """Load a model file as a module in evaluation mode. Raises UserError for a file that is none."""
    return AcousticModel(load_model(path)).eval()
