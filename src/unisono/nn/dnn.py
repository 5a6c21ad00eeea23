"""The network of `kind: dnn`: affine layers on spliced frames with a nonlinearity that keeps their width."""

from collections.abc import Mapping

from torch import Tensor

from unisono.config.network import DnnOptions
from unisono.core.products import Precision
from unisono.nn.ends import checked
from unisono.nn.frame_network import FrameNetwork


class Dnn(FrameNetwork):
    """The network of `kind: dnn`."""

    def __init__(
        self,
        options: DnnOptions,
        feature_dim: int,
        num_pdfs: int,
        precision: Precision = "float32",
        constants: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            options.nonlinearity,
            options.hidden,
            options.context,
            (feature_dim, num_pdfs),
            dropout=options.dropout,
            precision=precision,
            constants=checked(options, constants or {}),
        )
        self.options = options


def make(
    options: DnnOptions, feature_dim: int, num_pdfs: int, precision: Precision, constants: Mapping[str, Tensor]
) -> Dnn:
    """Return the network; see `nn.network.make`."""
    return Dnn(options, feature_dim, num_pdfs, precision, constants)
