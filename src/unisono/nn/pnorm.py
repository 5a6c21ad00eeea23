"""The network of Povey et al. 2014: hidden layers of affine, p-norm (p = 2) and normalisation; a softmax on top."""

from collections.abc import Mapping

from torch import Tensor

from unisono.config.network import PnormOptions
from unisono.core.products import Precision
from unisono.nn.ends import checked
from unisono.nn.frame_network import FrameNetwork


class Pnorm(FrameNetwork):
    """The network of `kind: pnorm`; hidden layer l has `group` * hidden[l] rows in the layout."""

    def __init__(
        self,
        options: PnormOptions,
        feature_dim: int,
        num_pdfs: int,
        precision: Precision = "float32",
        constants: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            "pnorm",
            options.hidden,
            options.context,
            (feature_dim, num_pdfs),
            group=options.group,
            dropout=options.dropout,
            precision=precision,
            constants=checked(options, constants or {}),
        )
        self.options = options


def make(
    options: PnormOptions, feature_dim: int, num_pdfs: int, precision: Precision, constants: Mapping[str, Tensor]
) -> Pnorm:
    """Return the network; see `nn.network.make`."""
    return Pnorm(options, feature_dim, num_pdfs, precision, constants)
