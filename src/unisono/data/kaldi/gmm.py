"""The acoustic model of a system of Kaldi, `final.mdl`: transition model, and mixtures where it is a GMM system."""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.data.kaldi.tokens import Tokens, read_tokens
from unisono.data.kaldi.transitions import Transitions, read_transitions


class Mixtures(NamedTuple):
    """All Gaussians, PDF by PDF; PDF p owns offsets[p]:offsets[p + 1]."""

    weights: NDArray[np.float32]  # [G]
    means: NDArray[np.float32]  # [G, D]
    variances: NDArray[np.float32]  # [G, D]
    offsets: NDArray[np.int64]  # [P + 1]


def read_model(path: str | os.PathLike[str]) -> tuple[Transitions, Mixtures | None]:
    """Read `final.mdl`, binary or text: transitions, and mixtures or, where it holds a network, None.

    Raises UserError naming file and byte.
    """
    tokens = read_tokens(path)
    transitions = read_transitions(tokens)
    if tokens.peek() == "<Nnet3>":
        return transitions, None
    mixtures = _mixtures(tokens)
    count = len(mixtures.offsets) - 1
    if count != transitions.num_pdfs:
        tokens.fail(f"{count} pdfs, its transition model has {transitions.num_pdfs}")
    if not tokens.at_end:
        tokens.fail("more after the last pdf", "is it the right file?")
    return transitions, mixtures


def _mixtures(tokens: Tokens) -> Mixtures:
    tokens.expect("<DIMENSION>")
    dim = tokens.integer(least=1, most=len(tokens.data))
    tokens.expect("<NUMPDFS>")
    weights, linear, inverse = [], [], []
    for _ in range(tokens.integer(least=1, most=len(tokens.data))):
        tokens.expect("<DiagGMM>")
        if tokens.skip("<GCONSTS>"):
            tokens.vector()  # follows from the rest
        tokens.expect("<WEIGHTS>")
        weights.append(tokens.vector())
        tokens.expect("<MEANS_INVVARS>")
        linear.append(tokens.matrix())
        tokens.expect("<INV_VARS>")
        inverse.append(tokens.matrix())
        tokens.expect("</DiagGMM>")
        size = len(weights[-1])
        if not size or linear[-1].shape != (size, dim) or inverse[-1].shape != (size, dim):
            tokens.fail(f"a pdf whose weights, means and variances do not fit {dim} dimensions")
        if (weights[-1] <= 0).any() or (inverse[-1] <= 0).any():
            tokens.fail("a pdf whose weights or variances are not positive")
    variances = 1.0 / np.concatenate(inverse).astype(np.float64)
    means = np.concatenate(linear) * variances
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in weights])]).astype(np.int64)
    mixtures = Mixtures(
        np.concatenate(weights).astype(np.float32), means.astype(np.float32), variances.astype(np.float32), offsets
    )
    if not all(np.isfinite(part).all() for part in mixtures[:3]):
        tokens.fail("a pdf whose means or variances are beyond float32")
    return mixtures
