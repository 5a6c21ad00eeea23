"""Splicing, and a stack of affine layers on spliced frames as an ordinary `torch.nn.Module`."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unisono.nn import activation

_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu_renorm": activation.relu_renorm,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def spliced(frames: Tensor, context: tuple[int, int], at: Tensor | None = None) -> Tensor:
    """Return the frames of utterances [..., T, D], each with its neighbours: [..., n, D (left + 1 + right)].

    at: int64 [n], which frames, also beyond the end; None = all. Beyond the ends of an utterance its first and its last
    frame are repeated, as in training.
    """
    left, right = context
    count = frames.shape[-2]
    own = torch.arange(count, device=frames.device) if at is None else at
    places = own[:, None] + torch.arange(-left, right + 1, device=frames.device)
    return frames[..., places.clamp(0, count - 1), :].flatten(-2)


class FrameModule(nn.Module):
    """Frames [..., T, D] of utterances in, log-posteriors [..., T, pdfs] out; differentiable."""

    def __init__(self, weights: Sequence[Tensor], kind: activation.Kind, context: tuple[int, int]) -> None:
        """weights: [W b] of each layer, copied. kind: of the nonlinearity between them."""
        super().__init__()
        self.context = context
        self.layers = nn.ModuleList()
        for matrix in weights:
            layer = nn.Linear(matrix.shape[1] - 1, matrix.shape[0])
            with torch.no_grad():
                layer.weight.copy_(matrix[:, :-1])
                layer.bias.copy_(matrix[:, -1])
            self.layers.append(layer)
        group = weights[0].shape[0] // (weights[1].shape[1] - 1)
        self.nonlinearity = partial(activation.pnorm, group=group) if kind == "pnorm" else _KINDS[kind]

    def forward(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame)."""
        values = spliced(frames, self.context)
        for layer in self.layers[:-1]:
            values = self.nonlinearity(layer(values))
        return torch.log_softmax(self.layers[-1](values), dim=-1)
