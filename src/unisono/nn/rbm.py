"""The RBM of one layer as a network that is trained on frames (docs/mathematics.md 6.5).

Frames are spliced and transformed as those of the network that is pretrained, then go up through the layers below,
which are constants `below1`, `below2`, ... [W b]: on the fly, minibatch by minibatch. It has no labels and no outputs;
its objective is minus the squared error of the reconstruction.
"""

from collections.abc import Mapping
from typing import Any, Never

import torch
from torch import Tensor

from unisono.config.build import complete
from unisono.config.rbm import ContrastiveDivergence, RbmNetwork
from unisono.config.transform import FOLDED
from unisono.core import flat
from unisono.core.number import Number
from unisono.core.products import Precision
from unisono.core.rbm import RbmUpdater
from unisono.errors import UserError
from unisono.nn.batch import Batch, StepStats
from unisono.nn.boltzmann import Rbm, RbmOptions, up
from unisono.nn.ends import BELOW, Ends
from unisono.nn.frame_module import spliced
from unisono.nn.network import Utterances, no_utterances

_PIECE = 512  # frames at a time where the start is looked for
_VARIANCES = (0.8, 1.25)  # of each dimension of a Gaussian RBM's input
_CONSTANT = 1e-6
_LARGEST_MEAN = 0.25  # of the same, apart from 0
_OF_TRAINING = ("below", "cd_steps", "visible", *FOLDED)


class RbmLayer:
    """An RBM with all that lies below it; see `nn.network.Network`."""

    classifies = False

    def __init__(self, options: RbmNetwork, feature_dim: int, num_pdfs: int, constants: Mapping[str, Tensor]) -> None:
        self.options, self.feature_dim, self.num_pdfs = options, feature_dim, num_pdfs
        self.unit, self.constants = options.unit, constants
        self.input_dim = options.unit.frames * feature_dim
        names = [f"{BELOW}{layer}" for layer in range(1, options.layer)]
        self._ends = Ends({n: t for n, t in constants.items() if n not in names}, self.input_dim, num_pdfs)
        sizes = [self.input_dim, *options.widths]
        for name, inputs, outputs in zip(names, sizes, sizes[1:], strict=False):
            if name in constants and tuple(constants[name].shape) != (outputs, inputs + 1):
                raise UserError(
                    f"{name}: an RBM of {constants[name].shape[1] - 1} to {constants[name].shape[0]} units where"
                    f" {inputs} to {outputs} are due: the layers do not chain: pretrain them anew"
                )
        self._given = [constants[name] for name in names if name in constants]
        self._is_whole = len(self._given) == len(names)
        own = RbmOptions(units=options.units, hidden=sizes[-1], steps=options.cd_steps, visible=options.visible)
        self._machine = Rbm(own, sizes[-2])
        self.layout = self._machine.layout
        self._below: list[Tensor] = []
        self._rooms: list[Tensor] = []

    def spec(self) -> dict[str, Any]:
        """Return what a model file keeps about the network, plain JSON values."""
        shape = {key: value for key, value in complete(self.options).items() if key not in _OF_TRAINING}
        return {**shape, "feature_dim": self.feature_dim, "num_pdfs": self.num_pdfs}

    def initial_parameters(
        self, options: Any, generator: torch.Generator, utterances: Utterances = no_utterances
    ) -> Tensor:
        """Return random parameters [P]; visible biases of a Bernoulli RBM come from the mean activations of frames.

        Raises UserError where the frames of a Gaussian one have not mean 0 and variance 1 in every dimension.
        """
        total = torch.zeros(self._machine.visible, dtype=torch.float64)
        count, squares = 0, torch.zeros_like(total)
        self._ends.bind(torch.zeros(0))
        for frames in utterances():
            for at in torch.arange(len(frames)).split(_PIECE):
                x = self._lifted(spliced(frames.float(), self.options.context, at)).double()
                count, total, squares = count + len(x), total + x.sum(0), squares + x.square().sum(0)
        if not count:
            raise UserError("frames: the training store is empty: see which utterances were left out, and why")
        mean = total / count
        if self.options.units == "gaussian":
            variance = squares / count - mean.square()
            constant = (variance < _CONSTANT) & self._ends.transforms  # `normalise` leaves it at 0
            _check_spread(mean, torch.where(constant, 1.0, variance))
        return self._machine.initial_parameters(generator, mean.float())

    def bind(self, params: Tensor) -> None:
        """Train and evaluate the vector `params` [P] from now on; it is changed in place."""
        if not self._is_whole:
            raise UserError(f"RBM of layer {self.options.layer}: the layers below are missing: give them as constants")
        if not self._below or self._below[0].device != params.device or self._below[0].dtype != params.dtype:
            self._below = [_laid_out(matrix, params) for matrix in self._given]
            self._rooms = []
        self._ends.bind(params)
        self._machine.bind(params)

    def buffers(self, n: int) -> Batch:
        """Return a minibatch to be filled: x [n, 1, input_dim], spliced frames, and ids [n, 1], which do not matter."""
        return Batch(self._raw(n)[:, None], self._machine.ids(n)[:, None], None)

    def step_(self, batch: Batch, updater: Any, rate: Number, generator: torch.Generator | None = None) -> StepStats:
        """Train on one minibatch, in place, with `rate` per mean gradient; see `Rbm.step_`."""
        if generator is None:
            raise ValueError("an RBM needs a generator")
        return self._machine.step_(self._lift(batch), updater, rate, generator)

    def evaluate(self, batch: Batch) -> StepStats:
        """Return minus the squared error of the mean-field reconstruction and the free energy."""
        return self._machine.evaluate(self._lift(batch))

    def updater(self, options: Any) -> RbmUpdater:
        """Return momentum and rate of contrastive divergence, as new."""
        assert isinstance(options, ContrastiveDivergence)
        return RbmUpdater(options.ramp, self.layout, options.weight_decay)

    def folded(self, params: Tensor) -> Tensor:
        """Return the vector as it is: what lies below is no part of an RBM's model."""
        return params

    def log_posteriors(self, frames: Tensor) -> Never:
        """Refuse."""
        raise UserError("the model is an RBM, which recognises nothing: give that of the run it pretrains")

    def module(self) -> Never:
        """Refuse."""
        self.log_posteriors(torch.zeros(0))

    def _raw(self, n: int) -> Tensor:
        """Return where spliced frames go: the place of the visible units where nothing lies between."""
        if not (self._below or self._ends.transforms):
            return self._machine.input_buffer(n)
        if not self._rooms or len(self._rooms[0]) < n:
            like = self._machine.input_buffer(n)
            widths = [self.input_dim] * (1 + self._ends.transforms) + [len(matrix) for matrix in self._below]
            self._rooms = [flat.matrix(n, width, like) for width in widths[:-1]]
        return self._rooms[0][:n]

    def _lift(self, batch: Batch) -> Batch:
        """Bring a minibatch up to the visible units."""
        x, n = batch.x[:, 0], len(batch.x)
        raw, target = self._raw(n), self._machine.input_buffer(n)
        if x.data_ptr() != raw.data_ptr():
            raw.copy_(x)
        if raw is not target and raw.data_ptr() != target.data_ptr():
            steps = [*(room[:n] for room in self._rooms[1:]), target]
            if self._ends.transforms:
                self._ends.below_(raw, steps[0])
                raw, steps = steps[0], steps[1:]
            for weights, out in zip(self._below, steps, strict=True):
                raw = up(weights, raw, out)
        return batch._replace(x=target[:, None])

    def _lifted(self, x: Tensor) -> Tensor:
        """Return what the visible units see of spliced frames, a new tensor."""
        out = torch.empty_like(x)
        self._ends.below_(x, out)
        for weights in self._given:
            out = up(weights.float(), out)
        return out


def make(
    options: RbmNetwork, feature_dim: int, num_pdfs: int, precision: Precision, constants: Mapping[str, Tensor]
) -> RbmLayer:
    """Return the network; see `nn.network.make`. Its products are always in float32."""
    return RbmLayer(options, feature_dim, num_pdfs, constants)


def _laid_out(matrix: Tensor, like: Tensor) -> Tensor:
    return flat.matrix(matrix.shape[0], matrix.shape[1], like).copy_(matrix)


def _check_spread(mean: Tensor, variance: Tensor) -> None:
    """Refuse an input that is not of mean 0 and variance 1."""
    low, high = float(variance.min()), float(variance.max())
    largest = float(mean.abs().max())
    if low < _VARIANCES[0] or high > _VARIANCES[1] or largest > _LARGEST_MEAN:
        raise UserError(
            f"initialisation: rbm: the spliced frames have variances from {low:.3g} to {high:.3g} and means up to"
            f" {largest:.3g} from 0, a Gaussian RBM wants variances of {_VARIANCES[0]} to {_VARIANCES[1]} and means"
            f" up to {_LARGEST_MEAN}: set network.transform: normalise"
        )
