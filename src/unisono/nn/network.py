"""The protocol that all networks follow, and where they are found by their kind.

The network of `kind: x` is what `make` of the module `unisono.nn.x` returns; its settings are a section of that kind in
`unisono.config.network`. Nothing outside `nn/` and `config/` names a kind.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unisono.config.network import NetworkOptions
from unisono.config.optimiser import OptimiserOptions
from unisono.core.flat import Layout
from unisono.core.number import Number
from unisono.core.products import Precision
from unisono.core.updater import Trainer
from unisono.nn.batch import Batch, StepStats
from unisono.units import TrainingUnit

# Features [T, D], float32, of one training utterance after another, for a network that looks at them before it starts.
Utterances = Callable[[], Iterable[Tensor]]


def no_utterances() -> Iterable[Tensor]:
    """Return nothing: for a network that starts from chance alone."""
    return ()


class Network(Protocol):
    """An acoustic model: how a flat vector of parameters [P] is trained on units of frames, and what it says of frames.

    It owns no parameters: `bind` says which vector it works on, and its dtype (float32 or float64) and device are those
    of all work. One network serves many workers, one after the other.
    """

    @property
    def layout(self) -> Layout:
        """How the vector of parameters is cut into matrices."""
        ...

    @property
    def unit(self) -> TrainingUnit:
        """What is trained on at a time: a frame with its context, or a chunk."""
        ...

    @property
    def feature_dim(self) -> int:
        """Numbers of a frame."""
        ...

    @property
    def num_pdfs(self) -> int:
        """Number of classes; labels are below it."""
        ...

    @property
    def constants(self) -> Mapping[str, Tensor]:
        """Named tensors that are held fixed in training, such as an input transform."""
        ...

    @property
    def classifies(self) -> bool:
        """Whether it tells pdfs apart, so that it has an accuracy and a prior."""
        ...

    def spec(self) -> dict[str, Any]:
        """Return what a model file keeps about the network, plain JSON values.

        That is the section `network` without what only training needs, feature_dim and num_pdfs.
        """
        ...

    def initial_parameters(
        self, options: Any, generator: torch.Generator, utterances: Utterances = no_utterances
    ) -> Tensor:
        """Return parameters [P] to start from, float32, as a section `initialisation` wants them."""
        ...

    def bind(self, params: Tensor) -> None:
        """Train and evaluate the vector `params` [P] from now on; it is changed in place."""
        ...

    def buffers(self, n: int) -> Batch:
        """Return a batch of n units to be filled, the same storage each time for the same n.

        x: whatever its shape, [n, unit.frames * feature_dim] in order. ids [n, unit.width]. mask and before are there
        unless units are single frames.
        """
        ...

    def step_(self, batch: Batch, updater: Any, rate: Number, generator: torch.Generator | None = None) -> StepStats:
        """Train on one minibatch, in place; returns the objective before the update.

        updater: what `updater` made, or (for networks that hand over derivatives) a `core.gradient.Gradient`. rate: per
        summed gradient, unless the updater says otherwise; a tensor where no step waits for the device (`core.number`).
        generator: chance of this worker; on the device of the parameters. May overwrite the batch.
        """
        ...

    def evaluate(self, batch: Batch) -> StepStats:
        """Return objective and accuracy of a minibatch, without chance and without an update."""
        ...

    def updater(self, options: OptimiserOptions) -> Trainer:
        """Return what changes the parameters, as new; most networks take the configured `Optimiser`."""
        ...

    def folded(self, params: Tensor) -> Tensor:
        """Return the parameters of the finished model, of the same layout, which says the same without constants."""
        ...

    def log_posteriors(self, frames: Tensor) -> Tensor:
        """Return log p(pdf | frame) [T, num_pdfs] of a whole utterance, unspliced frames [T, feature_dim].

        frames: on any device, any float type. The result is new, on the device and of the type of the parameters.
        """
        ...

    def module(self) -> nn.Module:
        """Return a differentiable module with a copy of the bound parameters.

        Frames [T, feature_dim] or [N, T, feature_dim] in, log-posteriors out, those of `log_posteriors` to rounding.
        """
        ...


def make(
    options: NetworkOptions,
    feature_dim: int,
    num_pdfs: int,
    precision: Precision = "float32",
    constants: Mapping[str, Tensor] | None = None,
) -> Network:
    """Return the network of a section `network` for features of `feature_dim` numbers a frame, not bound yet.

    precision: of the matrix products of training steps.
    """
    module = import_module(f"unisono.nn.{options.kind}")
    return module.make(options, feature_dim, num_pdfs, precision, constants or {})
