"""The section `optimiser`: what a worker does with a minibatch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from unisono.config.markers import Kinds, Section, Unit

Limit = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class NoLimit(Section):
    """No limit."""

    kind: Literal["none"]
    """No limit."""


@dataclass(frozen=True, kw_only=True)
class NormLimit(Section):
    """On the norm of a step, per layer and of the whole.

    nnet3 is Kaldi's rule since June 2017, on the step as it is made; nnet3_2017 the one before, on the momentum buffer.
    """

    kind: Literal["nnet3", "nnet3_2017"]
    """On the norm of a step, per layer and of the whole: Kaldi's rule since June 2017, or the one before, on the momentum buffer."""  # noqa: E501
    per_layer: Limit = 0.75
    """Largest 2-norm of a layer's step, or of each gate's, peephole's and projection's; 0 for no limit."""
    output: Limit | None = None
    """The same for the output layer; null: per_layer."""
    total: Limit = 2.0
    """Largest 2-norm of the whole step; 0 for no limit."""


@dataclass(frozen=True, kw_only=True)
class SampleLimit(Section):
    """On an upper bound of a layer's step per frame (nnet2), or the same bound on its gradient (su_chen)."""

    kind: Literal["nnet2", "su_chen"]
    """On an upper bound of a layer's step per frame, or the same bound on its gradient."""
    per_sample: Limit = 0.075
    """Largest change per sample."""


MaxChangeOptions = Annotated[NoLimit | NormLimit | SampleLimit, Kinds("nnet3")]


@dataclass(frozen=True, kw_only=True)
class NgSimpleOptions(Section):
    """The constant of simple natural gradient."""

    alpha: Annotated[float, Gt(0)] = 4.0
    """Smoothing with the unit matrix."""


@dataclass(frozen=True, kw_only=True)
class NgOptions(NgSimpleOptions):
    """Constants of online natural gradient; null takes the preset's value."""

    preset: Literal["nnet3", "nnet3_2017", "nnet2", "nnet2_2014", "effective_2015"] = "nnet3"
    """Set of constants: nnet3 of today or of 2017, nnet2 of today or of 2014, or those effective in the paper of 2015."""  # noqa: E501
    rank_in: Annotated[int, Ge(1)] | None = None
    """Rank on the input side of a layer; null: the preset's, 20 (effective_2015: 40)."""
    rank_out: Annotated[int, Ge(1)] | None = None
    """Rank on the output side of a layer; null: the preset's, 80 (effective_2015: 40)."""
    update_period: Annotated[int, Ge(1), Unit("minibatches")] | None = None
    """From one update of the factors to the next; null: the preset's, 4 (effective_2015: 1)."""
    history: Annotated[float, Gt(0), Le(1_000_000), Unit("samples")] = 2000.0
    """Memory of the factors."""
    minibatches_history: Annotated[float, Gt(1), Le(1_000_000), Unit("minibatches")] | None = None
    """Memory of the factors in minibatches, in place of history; null: off."""


@dataclass(frozen=True, kw_only=True)
class Common(Section):
    """What every optimiser has."""

    learning_rate: Annotated[float, Gt(0), Unit("per summed gradient")] = 0.0005
    """First effective learning rate."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """v <- m v + g, step x (1 - m), as in Kaldi."""
    l2: Annotated[float, Ge(0), Unit("per frame")] = 0.0
    """Penalty l2/2 times the squared weights (not biases)."""
    minibatch: Annotated[int, Ge(1), Unit("frames or chunks")] | None = None
    """Training units of a minibatch; null: 256 frames, or 64 chunks of an LSTM. Iteration 0 takes half with parallel.first_iteration: best."""  # noqa: E501
    max_change: MaxChangeOptions = NormLimit(kind="nnet3")
    """Limit on a step."""


@dataclass(frozen=True, kw_only=True)
class Sgd(Common):
    """Plain stochastic gradient descent."""

    kind: Literal["sgd"]
    """Plain stochastic gradient descent."""


@dataclass(frozen=True, kw_only=True)
class NgOnline(Common):
    """Natural gradient, rank-limited, kept between minibatches."""

    kind: Literal["ng_online"]
    """Natural gradient, rank-limited, kept between minibatches."""
    ng: NgOptions = NgOptions()
    """Constants of natural gradient."""


@dataclass(frozen=True, kw_only=True)
class NgSimple(Common):
    """Natural gradient within one minibatch."""

    kind: Literal["ng_simple"]
    """Natural gradient within one minibatch."""
    ng: NgSimpleOptions = NgSimpleOptions()
    """Constants of natural gradient."""


OptimiserOptions = Annotated[Sgd | NgOnline | NgSimple, Kinds("sgd")]
