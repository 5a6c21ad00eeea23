"""What a plain stochastic gradient step needs beside its product (`products.add_step_`): weight decay and momentum.

A layer is y = W [x; 1] with W [out, in + 1] and the bias as last column. `x` [N, in + 1] are the inputs with their
column of ones, `error` [N, out] is the derivative of the *loss* (minus the summed log-probability) at y. The gradient
is summed over the N rows, never divided by N, so a rate means the same as in Kaldi: per summed gradient.
"""

from torch import Tensor

from unisono.core import number
from unisono.core.number import Number


def add_decay_(target: Tensor, weight: Tensor, amount: Number, bias: bool = True) -> None:
    """Add the step of an L2 penalty, in place: target <- target - amount * weight, without the last column if a bias.

    The penalty is l2/2 |W|^2 per frame, as in Kaldi's nnet1, hence amount = rate * frames * l2.
    """
    columns = weight.shape[1] - bias
    number.add_(target[:, :columns], weight[:, :columns], -amount)


def momentum_step_(weights: Tensor, delta: Tensor, momentum: float, scale: Number) -> None:
    """Apply Kaldi's momentum rule in place: W <- W + scale * (1 - m) * Delta, then Delta <- m * Delta.

    `delta` already holds this minibatch's step (it is m times the old Delta plus the step). The factor 1 - m keeps
    the total effect of a gradient at 1; `scale` is the max-change factor, and Delta keeps its unlimited value
    (docs/mathematics.md 6.1.6). For m = 0 Delta is left as it is: the next step overwrites it.
    """
    number.add_(weights, delta, scale * (1.0 - momentum))
    if momentum > 0.0:
        delta.mul_(momentum)
