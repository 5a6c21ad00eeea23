"""LSTM networks of Kaldi (fast-lstm, fast-lstmp layers) as models of ours, and the way back; numbers keep their bits.

Ours has the gates in blocks i, f, o, c over [input, r before, 1], peepholes [3, cells] and a projection of cells to
recurrent and non-recurrent outputs, as the cells of `data.kaldi.stack` have.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unisono.core import flat
from unisono.data.kaldi.stack import Affine, Cell, RecurrentStack
from unisono.nn.model_file import Model, network_of
from unisono.recognise.kaldi_network import fail, float32, log_prior_of, spread


def lstm_of(stack: RecurrentStack, priors: NDArray | None = None) -> Model:
    """Return the model with the network's outputs, log p(pdf | frame), to rounding; see `kaldi_network.model_of`."""
    projections = {(cell.recurrent, len(cell.projection.bias) - cell.recurrent) if cell.projection else None
                   for cell in stack.cells}  # fmt: skip
    if len(projections) != 1:
        fail(stack, "layers of different projections: ours have the same")
    (projection,) = projections
    left, right = max(0, -min(stack.offsets)), max(0, max(stack.offsets))
    spec = {
        "kind": "lstm",
        "feature_dim": stack.input_dim,
        "num_pdfs": len(stack.output.bias),
        "cells": [cell.peepholes.shape[1] for cell in stack.cells],
        "projection": None if projection is None else list(projection),
        "splice": [left, right],
        "label_delay": stack.delay,
    }
    network = network_of(spec)
    params = flat.zeros(network.layout.size)
    views = flat.views(network.layout, params)
    for number, cell in enumerate(stack.cells, 1):
        weight = spread(stack, cell.gates.weight, left, right) if number == 1 else cell.gates.weight
        _fill(stack, views[f"lstm{number}.gates"], Affine(weight, cell.gates.bias))
        views[f"lstm{number}.peepholes"].copy_(float32(stack, cell.peepholes))
        if cell.projection is not None:
            _fill(stack, views[f"lstm{number}.projection"], cell.projection)
    _fill(stack, views["output"], stack.output)
    given = stack.priors if priors is None else priors
    log_prior = log_prior_of(stack, given, len(stack.output.bias))
    return Model(network.spec(), network.layout, params, log_prior)


def recurrent_of(model: Model) -> RecurrentStack:
    """Return the layers of a model of kind `lstm`, float32."""
    spec: dict[str, Any] = model.network
    views = flat.views(model.layout, model.flat)
    cells = []
    for number, size in enumerate(spec["cells"], 1):
        peepholes = views.get(f"lstm{number}.peepholes", torch.zeros(3, size)).numpy().copy()
        projection = spec["projection"] and _affine(views[f"lstm{number}.projection"])
        recurrent = spec["projection"][0] if spec["projection"] else size
        cells.append(Cell(_affine(views[f"lstm{number}.gates"]), peepholes, projection or None, recurrent))
    left, right = spec["splice"]
    offsets = tuple(range(-left, right + 1))
    output = _affine(views["output"])
    return RecurrentStack("model", spec["feature_dim"], offsets, tuple(cells), output, spec["label_delay"], None)


def _fill(stack: RecurrentStack, view: Tensor, layer: Affine) -> None:
    view[:, :-1].copy_(float32(stack, layer.weight))
    view[:, -1].copy_(float32(stack, layer.bias))


def _affine(view: Tensor) -> Affine:
    matrix = np.ascontiguousarray(view.numpy())
    return Affine(matrix[:, :-1].copy(), matrix[:, -1].copy())
