"""nnet1 networks (`final.nnet`) and feature transforms (`final.feature_transform`) as a row of steps.

`<Nnet>`, components of the form `<Type>` outputs inputs fields `<!EndOfComponent>`, `</Nnet>`. Read are Splice (the
first one), AddShift, Rescale, AffineTransform, LinearTransform, Sigmoid, Tanh and a Softmax at the end.
"""

import os

import numpy as np

from unisono.data.kaldi.nnet3_nodes import MOST_CONTEXT
from unisono.data.kaldi.stack import Activation, Affine, Diagonal, Stack, Step
from unisono.data.kaldi.tokens import Tokens, read_tokens

_KINDS = (
    "<Splice>", "<AddShift>", "<Rescale>", "<AffineTransform>", "<LinearTransform>", "<Sigmoid>", "<Tanh>", "<Softmax>",
)  # fmt: skip
_SETTINGS = ("<LearnRateCoef>", "<BiasLearnRateCoef>", "<MaxNorm>")


def read_nnet1(path: str | os.PathLike[str], transform: str | os.PathLike[str] | None = None) -> Stack:
    """Read a network, behind a feature transform where one is given. Raises UserError naming file and component.

    Where the network ends without its softmax, one is added: nnet1 decodes by what comes before it.
    """
    parts = [_components(read_tokens(name)) for name in (transform, path) if name is not None]
    if len(parts) == 2 and (parts[0][3] or parts[1][1] != (0,) or parts[0][4] != parts[1][0]):
        read_tokens(path).fail(f"it takes {parts[1][0]} numbers, the transform gives {parts[0][4]}", "give its own")
    dim, offsets = parts[0][0], parts[0][1]
    steps = [step for part in parts for step in part[2]]
    return Stack(os.fspath(path), dim, offsets, tuple(steps), None)


def _components(tokens: Tokens) -> tuple[int, tuple[int, ...], list[Step], bool, int]:
    """Return input dimension, spliced offsets, steps, whether a softmax ends them, output dimension."""
    tokens.expect("<Nnet>")
    steps: list[Step] = []
    first = width = 0
    offsets: tuple[int, ...] = (0,)
    spliced = ended = False
    while (kind := tokens.token()) != "</Nnet>":
        if kind not in _KINDS:
            tokens.fail(f"component {kind[:60]!r}, which a feed-forward network here has not", "see docs/kaldi.md")
        outputs, inputs = tokens.integer(least=1), tokens.integer(least=1)
        if ended or (width and inputs != width):
            tokens.fail(f"{kind} takes {inputs} numbers after {width}, or follows the softmax")
        first, width = first or inputs, outputs
        if kind == "<Splice>":
            if spliced or steps:
                tokens.fail("<Splice> between layers is not read", "see docs/kaldi.md")
            offsets, spliced = tuple(map(int, tokens.integers())), True
            if not offsets or max(map(abs, offsets)) > MOST_CONTEXT or outputs != inputs * len(offsets):
                tokens.fail(f"<Splice> of {len(offsets)} frames makes {outputs} of {inputs}")
        elif kind == "<Softmax>":
            ended = True
        else:
            steps.append(_step(tokens, kind, outputs, inputs))
        tokens.skip("<!EndOfComponent>")
    if not tokens.at_end or not first:
        tokens.fail("more after the network, or nothing in it", "is it the right file?")
    return first, offsets, steps, ended, width


def _step(tokens: Tokens, kind: str, outputs: int, inputs: int) -> Step:
    if kind in ("<Sigmoid>", "<Tanh>"):
        return Activation("sigmoid" if kind == "<Sigmoid>" else "tanh")
    while tokens.peek() in _SETTINGS:
        tokens.token()
        tokens.real()
    if kind in ("<AddShift>", "<Rescale>"):
        vector = tokens.vector()
        if len(vector) != inputs or outputs != inputs:
            tokens.fail(f"{kind} of {len(vector)} numbers for {inputs}")
        rest = np.ones(inputs, np.float32) if kind == "<AddShift>" else np.zeros(inputs, np.float32)
        return Diagonal(rest, vector) if kind == "<AddShift>" else Diagonal(vector, rest)
    weight = tokens.matrix()
    bias = tokens.vector() if kind == "<AffineTransform>" else np.zeros(outputs, np.float32)
    if weight.shape != (outputs, inputs) or len(bias) != outputs:
        tokens.fail(f"{kind}: matrix and bias do not fit {outputs} x {inputs}")
    return Affine(weight, bias)
