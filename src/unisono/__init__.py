"""Unisono: parallel training of speech acoustic models."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unisono.nn.module import AcousticModel

__version__ = "0.1.0"


def load(path: str | os.PathLike[str]) -> "AcousticModel":
    """Load a trained model file as a torch module: frames [T, feature_dim] in, log-posteriors [T, num_pdfs] out.

    See `unisono.nn.module.AcousticModel`. Raises UserError for a file that is no model.
    """
    from unisono.nn.module import load as load_module  # torch is imported only by those who need it

    return load_module(path)
