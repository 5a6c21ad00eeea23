"""A stack of LSTM layers as an ordinary `torch.nn.Module`, computed time by time by torch's own operations."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unisono.config.network import LstmOptions
from unisono.nn.frame_module import spliced


class LstmModule(nn.Module):
    """Frames [..., T, D] of whole utterances in, log-posteriors [..., T, pdfs] out; differentiable.

    Parameters have the names of the matrices of the network (`nn.lstm`), with `_` for the point.
    """

    def __init__(self, options: LstmOptions, matrices: Mapping[str, Tensor]) -> None:
        """matrices: of the network, by name; copied."""
        super().__init__()
        self.options = options
        self.scale = 1.0 if options.decay_time is None else 1.0 - 1.0 / options.decay_time
        for name, matrix in matrices.items():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(matrix.detach().clone()))

    def forward(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame); the last frame is repeated for the label delay."""
        count, delay = frames.shape[-2], self.options.label_delay
        if count == 0:
            return frames.new_empty(*frames.shape[:-1], len(self.get_parameter("output")))
        places = torch.arange(count + delay, device=frames.device)
        values = spliced(frames, self.options.splice, at=places)
        for number in range(1, len(self.options.cells) + 1):
            values = self._layer(f"lstm{number}", values)
        output = self.get_parameter("output")
        logits = nn.functional.linear(values[..., delay:, :], output[:, :-1], output[:, -1])
        return torch.log_softmax(logits, dim=-1)

    def _layer(self, name: str, inputs: Tensor) -> Tensor:
        """Return what a layer hands up, [..., T, outputs]; equations in `nn.lstm_layer`."""
        gates, s = self.get_parameter(f"{name}_gates"), self.scale
        width = inputs.shape[-1]
        below = nn.functional.linear(inputs, gates[:, :width], gates[:, -1])
        cells = gates.shape[0] // 4
        peepholes = self.get_parameter(f"{name}_peepholes") if self.options.peepholes else inputs.new_zeros(3, cells)
        projection = self.get_parameter(f"{name}_projection") if self.options.projection else None
        back = gates[:, width:-1]
        r, c, found = inputs.new_zeros(*inputs.shape[:-2], back.shape[1]), inputs.new_zeros(cells), []
        for row in below.unbind(-2):
            i, f, o, z = (row + r @ back.t()).chunk(4, dim=-1)
            c = s * (torch.sigmoid(f + peepholes[1] * c) * c + torch.sigmoid(i + peepholes[0] * c) * torch.tanh(z))
            m = torch.sigmoid(o + peepholes[2] * c) * torch.tanh(c)
            if projection is not None:
                m = nn.functional.linear(m, projection[:, :-1], projection[:, -1])
            r = s * m[..., : back.shape[1]]
            found.append(m)
        return torch.stack(found, dim=-2)
