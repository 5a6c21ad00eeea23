"""The gradient of a network's objective over some minibatches, taken where an optimiser would make its steps."""

from torch import Tensor

from unisono.core import flat
from unisono.core.flat import Layout
from unisono.core.number import Number
from unisono.core.products import Products


class Gradient:
    """What a network's `step_` is given in place of an optimiser to leave the parameters as they are.

    sum: [P], the derivative of the summed objective (higher is better) over all minibatches since `reset`, with the
    dtype and device of the parameters; None before the first minibatch.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.sum: Tensor | None = None
        self._products = Products()

    def reset(self) -> None:
        """Begin a new sum."""
        if self.sum is not None:
            self.sum.zero_()

    def begin(self, params: Tensor, rate: Number, products: Products, frames: int | Tensor | None = None) -> None:
        """Start a minibatch; `rate` and `frames` have no meaning here."""
        self._products = products
        if self.sum is None or self.sum.dtype != params.dtype or self.sum.device != params.device:
            self.sum = flat.zeros(self.layout.size, params.dtype).to(params.device)
            self._parts = list(flat.views(self.layout, self.sum).values())

    def layer_(self, index: int, x: Tensor, error: Tensor) -> None:
        """Take in one layer's part: x [N, in + 1], error [N, out], the derivative of minus the objective."""
        self._products.add_step_(self._parts[index], x, error, 1.0)

    def rows_(self, index: int, block: int, products: Tensor) -> None:
        """Take in one vector's part: per-frame products [N, D] of the derivative of minus the objective."""
        self._parts[index][block].sub_(products.sum(dim=0))

    def finish_(self) -> int:
        """End the minibatch; nothing was limited."""
        return 0
