"""The sections `network` and `initialisation`: the acoustic model that the workers train, and where they start."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.markers import Kinds, Section, Unit
from unisono.config.rbm import RbmNetwork, RbmStart
from unisono.config.transform import Ended, Side, Spliced
from unisono.units import TrainingUnit

Nonlinearity = Literal["sigmoid", "tanh", "relu", "relu_renorm"]


@dataclass(frozen=True, kw_only=True)
class DnnOptions(Spliced):
    """Feed-forward layers on spliced frames."""

    kind: Literal["dnn"]
    """Feed-forward layers on spliced frames."""
    hidden: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Unit("units")] = (256, 256, 256)
    """Width of each hidden layer."""
    nonlinearity: Nonlinearity = "relu"
    """Of the hidden layers; relu_renorm (Kaldi's relu-renorm-layer) also scales the outputs of each frame to a root mean square of 1."""  # noqa: E501
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Fraction of hidden units switched off in each step of training."""

    def weights(self, feature_dim: int, num_pdfs: int) -> int:
        """Return the number of weights."""
        sizes = [feature_dim * self.unit.frames, *self.hidden]
        hidden = sum((a + 1) * b for a, b in zip(sizes, self.hidden, strict=False))
        return hidden + (sizes[-1] + 1) * num_pdfs


@dataclass(frozen=True, kw_only=True)
class PnormOptions(Spliced):
    """Feed-forward layers on spliced frames, of p-norm units with normalisation (Povey et al. 2014)."""

    kind: Literal["pnorm"]
    """Feed-forward layers on spliced frames, of p-norm units with normalisation (Povey et al. 2014)."""
    hidden: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Unit("units")] = (64, 64, 64)
    """Width of each hidden layer."""
    group: Annotated[int, Ge(1)] = 5
    """Affine outputs that each unit is the 2-norm of."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Fraction of hidden units switched off in each step of training."""

    def weights(self, feature_dim: int, num_pdfs: int) -> int:
        """Return the number of weights."""
        sizes = [feature_dim * self.unit.frames, *self.hidden]
        hidden = sum((a + 1) * b * self.group for a, b in zip(sizes, self.hidden, strict=False))
        return hidden + (sizes[-1] + 1) * num_pdfs


@dataclass(frozen=True, kw_only=True)
class LstmOptions(Ended):
    """LSTM layers with peepholes on chunks of utterances."""

    kind: Literal["lstm"]
    """LSTM layers with peepholes on chunks of utterances."""
    cells: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), Unit("units")] = (128,)
    """Cells of each layer."""
    projection: Annotated[tuple[Annotated[int, Ge(1)], Annotated[int, Ge(0)]], Unit("units")] | None = None
    """Width of the recurrent and of the other part of a projection of each layer's output (Kaldi's lstmp); null: none."""  # noqa: E501
    peepholes: bool = True
    """Whether the gates see the cell."""
    splice: Annotated[tuple[Side, Side], Unit("frames")] = (0, 0)
    """Neighbours to the left and to the right that each frame is read with."""
    chunk: Annotated[int, Ge(1), Le(1000), Unit("frames")] = 20
    """Frames with labels of a training unit."""
    left_context: Annotated[int, Ge(0), Le(1000), Unit("frames")] = 40
    """Frames before a chunk that prepare the state."""
    label_delay: Annotated[int, Ge(0), Le(100), Unit("frames")] = 5
    """Frames that the network sees after one before it says what it was; below chunk."""
    backprop_margin: Annotated[int, Ge(0), Unit("frames")] | None = 8
    """Frames before a chunk that derivatives reach (Kaldi's min-deriv-time); earlier ones leave all statistics, too; null: all."""  # noqa: E501
    clip: Annotated[float, Ge(0)] = 30.0
    """Largest norm of a frame's derivative at the cells of a layer, and at its recurrent output; 0 for no limit."""
    zeroing: Annotated[float, Ge(0)] = 15.0
    """Norm above which these derivatives are set to zero every zeroing_interval frames; 0 for never."""
    zeroing_interval: Annotated[int, Ge(1), Unit("frames")] = 20
    """From one such frame to the next."""
    decay_time: Annotated[float, Gt(1), Unit("frames")] | None = None
    """Frames in which cells and recurrent outputs decay, 1 - 1/decay_time each (Kaldi's decay-time); null: they do not."""  # noqa: E501
    forget_bias: float = 0.0
    """Added to the initial biases of the forget gates."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Fraction of outputs switched off between layers in each step of training."""

    @property
    def neighbours(self) -> tuple[int, int]:
        """The frames to the left and to the right that each frame is spliced with."""
        return self.splice

    @property
    def times(self) -> int:
        """The frames over which a chunk is computed."""
        return self.left_context + self.chunk + self.label_delay

    @property
    def unit(self) -> TrainingUnit:
        """What is trained on at a time: a chunk with what is read around it."""
        before, after = self.splice
        return TrainingUnit(self.chunk, self.left_context + before, self.label_delay + after)

    def weights(self, feature_dim: int, num_pdfs: int) -> int:
        """Return the number of weights, counted as often as a label costs: a context of n chunks costs n + 1 times."""
        recurrent, rest = self.projection or (0, 0)
        inputs, found = feature_dim * (sum(self.splice) + 1), 0
        for cells in self.cells:
            outputs = recurrent + rest if recurrent else cells
            found += 4 * cells * (inputs + (recurrent or cells) + 1) + 3 * cells * self.peepholes
            found += outputs * (cells + 1) if recurrent else 0
            inputs = outputs
        return round(found * self.times / self.chunk) + (inputs + 1) * num_pdfs


_Networks = DnnOptions | PnormOptions | LstmOptions
NetworkOptions = Annotated[_Networks, Kinds("dnn")]
# Of a model file, which may also hold the RBM of a layer.
AnyNetworkOptions = Annotated[_Networks | RbmNetwork, Kinds("dnn")]
# Those into which a layer-wise start inserts hidden layers.
Growing = DnnOptions | PnormOptions


@dataclass(frozen=True, kw_only=True)
class HiddenBias(Section):
    """Uniform random biases."""

    mean: float
    """Their mean."""
    range: Annotated[float, Ge(0)]
    """Largest minus smallest."""


@dataclass(frozen=True, kw_only=True)
class Drawn(Section):
    """What starts from seeded random numbers have."""

    hidden_gain: Annotated[float, Gt(0)] | None = None
    """Standard deviation of hidden weights times the square root of their inputs; null: sqrt(2) for relu, 1 for relu_renorm, tanh and an LSTM, 3.5 for sigmoid."""  # noqa: E501
    output_gain: Annotated[float, Ge(0)] = 0.0
    """The same for the output layer; 0 starts from equal posteriors."""
    hidden_bias: HiddenBias | None = None
    """Uniform random biases of hidden layers (Su and Chen 2015: mean -2, range 4); null: zeros."""
    bias_stddev: Annotated[float, Ge(0)] = 0.0
    """Standard deviation of hidden biases (Povey et al. 2014: 0.5), and of an LSTM's peepholes (Kaldi: 1)."""


@dataclass(frozen=True, kw_only=True)
class RandomStart(Drawn):
    """Seeded random weights."""

    kind: Literal["random"]
    """Seeded random weights."""


@dataclass(frozen=True, kw_only=True)
class LayerwiseStart(Drawn):
    """One hidden layer of seeded random weights; the others follow one by one while the network learns."""

    kind: Literal["layerwise"]
    """One hidden layer of seeded random weights; the others follow one by one while the network learns."""
    period: Annotated[int, Ge(1), Unit("iterations")] = 2
    """A hidden layer is inserted before the output layer before iterations 1, 1 + period, 1 + 2 period and so on."""


@dataclass(frozen=True, kw_only=True)
class ModelStart(Section):
    """A trained model of the same layout."""

    kind: Literal["model"]
    """A trained model of the same layout."""
    path: str | None = None
    """Model file to start from, relative to the working directory."""


InitialisationOptions = Annotated[RandomStart | LayerwiseStart | ModelStart | RbmStart, Kinds("random")]
