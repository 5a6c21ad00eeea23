"""The networks by their kind: to add one, write its class and name it here and in `unisono.config.network`."""

from unisono.config.network import NetworkOptions
from unisono.core.products import Precision
from unisono.nn.dnn import Dnn, FrameNetwork
from unisono.nn.pnorm import Pnorm


def make(options: NetworkOptions, feature_dim: int, num_pdfs: int, precision: Precision = "float32") -> FrameNetwork:
    """Return the network of a section `network` for features of `feature_dim` numbers a frame, not bound yet."""
    if options.kind == "pnorm":
        return Pnorm(options, feature_dim, num_pdfs, precision)
    return Dnn(options, feature_dim, num_pdfs, precision)
