"""A network of Kaldi as a row of steps or of LSTM cells, whichever program it came from."""

from typing import Literal, NamedTuple

from numpy.typing import NDArray

Nonlinearity = Literal["sigmoid", "tanh", "relu"]


class Affine(NamedTuple):
    """y = weight x + bias."""

    weight: NDArray  # [outputs, inputs]
    bias: NDArray  # [outputs]


class Diagonal(NamedTuple):
    """y = scale x + shift, element by element."""

    scale: NDArray  # [n]
    shift: NDArray  # [n]


class Activation(NamedTuple):
    """y = f(x), element by element."""

    kind: Nonlinearity


class Renorm(NamedTuple):
    """y = target_rms x / sqrt(mean x²), the mean over the elements of a frame."""

    target_rms: float


class Pnorm(NamedTuple):
    """y_j = sqrt(sum x²) over group j of `inputs` / `outputs` neighbouring elements."""

    inputs: int
    outputs: int


Step = Affine | Diagonal | Activation | Renorm | Pnorm


class Stack(NamedTuple):
    """Spliced frames through all steps, then a softmax.

    `offsets`: which frames are spliced, in this order, e.g. (-1, 0, 1). `priors`: float [pdfs], None where the file
    has none. `where` names the file.
    """

    where: str
    input_dim: int
    offsets: tuple[int, ...]
    steps: tuple[Step, ...]
    priors: NDArray | None


class Cell(NamedTuple):
    """One LSTM layer with peepholes; blocks of rows are i, f, o, c.

    i, f = sigma(gates [x, r_(t-1)] + peepholes c_(t-1)), z = tanh(gates), c = f c_(t-1) + i z,
    o = sigma(gates + peepholes c), m = o tanh(c). It hands up m, or projection m; r is the first `recurrent` of that.
    """

    gates: Affine  # [4 cells, inputs + recurrent]
    peepholes: NDArray  # [3, cells]: i, f, o
    projection: Affine | None
    recurrent: int


class RecurrentStack(NamedTuple):
    """LSTM layers on frames `offsets` of the input, an affine layer and a softmax.

    delay: the output for frame t is that of time t + delay; before the utterance state and output are zero.
    """

    where: str
    input_dim: int
    offsets: tuple[int, ...]
    cells: tuple[Cell, ...]
    output: Affine
    delay: int
    priors: NDArray | None
