"""Which program a network is of, and its priors."""

import os

from numpy.typing import NDArray

from unisono.data.kaldi.nnet1 import read_nnet1
from unisono.data.kaldi.nnet3 import read_nnet3
from unisono.data.kaldi.nnet3_lstm import cells_of, recurrent
from unisono.data.kaldi.nnet3_stack import stack_of
from unisono.data.kaldi.stack import RecurrentStack, Stack
from unisono.data.kaldi.tokens import read_tokens
from unisono.errors import UserError


def read_stack(path: str | os.PathLike[str], transform: str | os.PathLike[str] | None = None) -> Stack | RecurrentStack:
    """Read the steps or LSTM layers of a network of nnet3 (raw or final.mdl) or nnet1, behind `transform` (nnet1 only).

    Raises UserError where it is neither, or naming what is not read.
    """
    first = read_tokens(path).peek()
    if first == "<Nnet>":
        return read_nnet1(path, transform)
    if first not in ("<Nnet3>", "<TransitionModel>"):
        raise UserError(f"{path}: begins with {first[:40]!r}: give final.mdl or final.raw of nnet3, or final.nnet")
    if transform is not None:
        raise UserError(f"{transform}: a feature transform goes with nnet1: nnet3 has its transform within")
    file = read_nnet3(path)
    return cells_of(file, os.fspath(path)) if recurrent(file) else stack_of(file, os.fspath(path))


def read_priors(path: str | os.PathLike[str]) -> NDArray:
    """Read a vector of counts or probabilities. Raises UserError where one is negative or all are zero."""
    tokens = read_tokens(path)
    values = tokens.vector()
    if not tokens.at_end or not len(values) or (values < 0).any() or not values.any():
        raise UserError(f"{path}: not a vector of counts or probabilities: give e.g. ali_train_pdf.counts")
    return values
