"""The network of Povey et al. 2014: hidden layers of affine, p-norm (p = 2) and normalisation; a softmax on top."""

from dataclasses import dataclass
from typing import Any, Literal

from unisono.core.products import Precision
from unisono.errors import UserError
from unisono.nn.dnn import FrameNetwork


@dataclass(frozen=True, kw_only=True, slots=True)
class PnormOptions:
    """The section `network` for `kind: pnorm`.

    hidden: numbers that each hidden layer hands up, at least one layer. group: affine outputs that each of them is the
    norm of, at least 1. context: frames spliced to the left and to the right. dropout: share of hidden outputs set to
    zero in training, in [0, 1).
    """

    kind: Literal["pnorm"]
    hidden: tuple[int, ...]
    group: int
    context: tuple[int, int]
    dropout: float

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"network.hidden: {list(self.hidden)}: give the width of each hidden layer, 1 or more")
        if self.group < 1:
            raise UserError(f"network.group: {self.group}: give the affine outputs of a group, 1 or more")
        if min(self.context) < 0:
            raise UserError(f"network.context: {list(self.context)}: frames to the left and right, 0 or more")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"network.dropout: {self.dropout}: give a share from 0 to below 1")


class Pnorm(FrameNetwork):
    """The network of `kind: pnorm`; hidden layer l has `group` * hidden[l] rows in the layout."""

    def __init__(
        self, options: PnormOptions, feature_dim: int, num_pdfs: int, precision: Precision = "float32"
    ) -> None:
        super().__init__(
            "pnorm",
            options.hidden,
            options.context,
            (feature_dim, num_pdfs),
            group=options.group,
            dropout=options.dropout,
            precision=precision,
        )
        self.options = options

    def spec(self) -> dict[str, Any]:
        """Return what a model file keeps about the network, plain JSON values."""
        options = self.options
        return {
            "kind": "pnorm",
            "feature_dim": self.feature_dim,
            "num_pdfs": self.num_pdfs,
            "hidden": list(options.hidden),
            "group": options.group,
            "context": list(options.context),
        }
