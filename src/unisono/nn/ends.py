"""What is fixed at the two ends of a network while it trains: a transform of its input, scales of its softmax's input.

Both are constants, no part of the trained vector; `folded` multiplies them into the first and the last layer, so that
a finished network is one without them. Names: `transform` [D, D + 1], the matrix [M o] of y = M x + o; or `normalise`
[2, D], its diagonal M and o, where M has nothing else; `prior_scales` [pdfs].
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unisono.config.transform import Ended
from unisono.core import flat, input_transform
from unisono.core.flat import Layout
from unisono.errors import UserError

BELOW = "below"  # and a number: a layer below an RBM
TRANSFORM, NORMALISE, PRIOR_SCALES = "transform", "normalise", "prior_scales"


class Ends:
    """The constants of a network for inputs of `dim` numbers and `num_pdfs` pdfs.

    Raises UserError where they are of another network.
    """

    def __init__(self, constants: Mapping[str, Tensor], dim: int, num_pdfs: int) -> None:
        wanted = {TRANSFORM: (dim, dim + 1), NORMALISE: (2, dim), PRIOR_SCALES: (num_pdfs,)}
        for name, tensor in constants.items():
            if tuple(tensor.shape) != wanted.get(name):
                raise UserError(
                    f"constants: {name} has shape {list(tensor.shape)}, expected {list(wanted.get(name, ()))}:"
                    " they are of another network: run the stage that makes them"
                )
        self.constants = dict(constants)
        self.transforms = TRANSFORM in constants or NORMALISE in constants
        self._own: dict[str, Tensor] = {}

    def bind(self, like: Tensor) -> None:
        """Work in the dtype and on the device of a tensor from now on."""
        known = next(iter(self._own.values()), None)
        if known is None or (known.dtype, known.device) != (like.dtype, like.device):
            self._own = {name: tensor.to(like) for name, tensor in self.constants.items()}

    def below_(self, x: Tensor, out: Tensor) -> None:
        """Write the transformed inputs of x [N, D] into `out` [N, D], which is other storage."""
        if TRANSFORM in self._own:
            matrix = self._own[TRANSFORM]
            torch.addmm(matrix[:, -1], x, matrix[:, :-1].t(), out=out)
        elif NORMALISE in self._own:
            scale, offset = self._own[NORMALISE]
            torch.addcmul(offset, x, scale, out=out)
        else:
            out.copy_(x)

    def above_(self, rows: Tensor) -> None:
        """Multiply logits, or derivatives at them, [N, pdfs] by the scales of their pdfs, in place."""
        if PRIOR_SCALES in self._own:
            rows.mul_(self._own[PRIOR_SCALES])

    def folded(self, layout: Layout, params: Tensor) -> Tensor:
        """Return the vector [P] of the network without constants that says the same, rounded once."""
        result = flat.zeros(layout.size, params.dtype).copy_(params)
        matrices = list(flat.views(layout, result).values())
        if TRANSFORM in self.constants:
            matrices[0].copy_(input_transform.fold_below(matrices[0], self.constants[TRANSFORM]))
        elif NORMALISE in self.constants:
            scale, offset = self.constants[NORMALISE]
            full = torch.cat([torch.diag(scale), offset[:, None]], dim=1)
            matrices[0].copy_(input_transform.fold_below(matrices[0], full))
        if PRIOR_SCALES in self.constants:
            matrices[-1].copy_(input_transform.fold_above(matrices[-1], self.constants[PRIOR_SCALES]))
        return result


def checked(options: Ended, constants: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the constants. Raises UserError where they lack what a section `network` asks for."""
    kind = options.transform.kind
    for key, wanted in (
        ("transform", {"lda": TRANSFORM, "normalise": NORMALISE}.get(kind)),
        ("prior_power", PRIOR_SCALES),
    ):
        value = kind if key == "transform" else options.prior_power
        if wanted and value and wanted not in constants:
            raise UserError(f"network.{key}: {value}: --constants lacks {wanted}: give the file that the stage made")
    return constants
