"""Fixed affine transforms of a network's input, and of its softmax's input, estimated from training frames.

A transform is a matrix [M o] of shape [D', D + 1]: y = M x + o. `lda` is Kaldi's LDA-like transform
(docs/mathematics.md 6.1.9), `normalise` brings each dimension to mean 0 and variance 1. Both are constants while a
network trains; `fold_below` multiplies one into the first layer of a finished network.
"""

import torch
from torch import Tensor

_PIVOT_FLOOR = 1e-12  # of W's largest diagonal element: below this a pivot is rounding


class Statistics:
    """Counts, sums and second moments of weighted frames, in float64, class by class.

    counts: [classes]; sums: [classes, D]; squares: [D, D], over all classes.
    """

    def __init__(self, classes: int, dim: int) -> None:
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self.sums = torch.zeros(classes, dim, dtype=torch.float64)
        self.squares = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, rows: Tensor, classes: Tensor, weights: Tensor | None = None) -> None:
        """Take in frames [N, D] with their classes [N] int64 and weights [N], 1 where None."""
        double = rows.double()
        weights = torch.ones(len(rows), dtype=torch.float64) if weights is None else weights.double()
        weighted = double * weights[:, None]
        self.counts.index_add_(0, classes, weights)
        self.sums.index_add_(0, classes, weighted)
        self.squares.addmm_(weighted.t(), double)

    def mean(self) -> Tensor:
        """Return the mean of all frames [D]. Raises ValueError where there are none."""
        total = float(self.counts.sum())
        if not total > 0.0:
            raise ValueError("a transform needs frames, and these weigh nothing")
        return self.sums.sum(0) / total

    def covariances(self) -> tuple[Tensor, Tensor]:
        """Return between-class B and within-class W = T - B [D, D], both divided by the count."""
        mean, total = self.mean(), self.counts.sum()
        there = self.counts > 0.0
        means = self.sums[there] / self.counts[there, None]
        between = (means * (self.counts[there, None] / total)).t() @ means - torch.outer(mean, mean)
        return between, self.squares / total - torch.outer(mean, mean) - between


def lda(
    statistics: Statistics,
    *,
    dim: int | None = None,
    within_class_factor: float = 0.0001,
    max_singular_value: float = 5.0,
    remove_offset: bool = True,
    smooth: bool | None = None,
) -> Tensor:
    """Return Kaldi's LDA-like transform [D', D + 1], float64, or [D', D] where `remove_offset` is off.

    With W = L L^T and the eigenvectors U and eigenvalues lambda of L^-1 B L^-T in falling order: M = U^T L^-1, its
    first `dim` rows (None: all), row i times sqrt((f + lambda_i) / (1 + lambda_i)) with f = within_class_factor; then
    singular values above `max_singular_value` are set to it (0: none). The offset is -M mean. Where a pivot of W's
    Cholesky decomposition is not positive, or mere rounding, 0.001 tr(W) / D is added to the diagonal; `smooth` forces
    that or forbids it. The sign of a row is free; here its element of largest size is positive.
    """
    between, within = statistics.covariances()
    if smooth is None:
        factor, failed = torch.linalg.cholesky_ex(within)
        smooth = bool(failed) or float(factor.diagonal().square().min() / within.diagonal().max()) < _PIVOT_FLOOR
    if smooth:
        within = within + torch.eye(len(within), dtype=torch.float64) * (0.001 * within.trace() / len(within))
    factor = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    projected = torch.linalg.solve_triangular(factor, half.t(), upper=False)
    values, vectors = torch.linalg.eigh((projected + projected.t()) / 2)
    values, vectors = values.flip(0)[:dim].clamp(min=0.0), vectors.flip(1)[:, :dim]
    transform = torch.linalg.solve_triangular(factor.t(), vectors, upper=True).t()  # U^T L^-1
    transform = transform * ((within_class_factor + values) / (1.0 + values)).sqrt()[:, None]
    if max_singular_value > 0.0:
        left, singular, right = torch.linalg.svd(transform, full_matrices=False)
        if float(singular.max()) > max_singular_value:
            transform = (left * singular.clamp(max=max_singular_value)) @ right
    largest = transform.gather(1, transform.abs().argmax(dim=1, keepdim=True))
    transform = transform * torch.where(largest < 0.0, -1.0, 1.0)
    if not remove_offset:
        return transform
    return torch.cat([transform, -(transform @ statistics.mean())[:, None]], dim=1)


def normalise(statistics: Statistics) -> Tensor:
    """Return the transform [D, D + 1], float64, to mean 0 and variance 1; a constant dimension becomes 0."""
    mean = statistics.mean()
    squares = statistics.squares.diagonal() / statistics.counts.sum()
    variances = squares - mean.square()
    constant = variances <= 1e-12 * squares  # what rounding leaves of nothing
    scales = torch.where(constant, 1.0, variances.clamp(min=1e-300).rsqrt())
    return torch.cat([torch.diag(scales), -(mean * scales)[:, None]], dim=1)


def apply(transform: Tensor, rows: Tensor) -> Tensor:
    """Return M x + o [N, D'] for rows [N, D], in the rows' dtype."""
    own = transform.to(rows)
    return torch.addmm(own[:, -1], rows, own[:, :-1].t())


def fold_below(first: Tensor, transform: Tensor) -> Tensor:
    """Return the layer [out, D + R + 1] that does to untransformed frames what `first` [out, D' + R + 1] does to them.

    [W M, U, W o + b] for [W U b], multiplied in float64 and rounded once; U are the R recurrent weights of an LSTM.
    """
    width = len(transform)
    weight, rest, bias = first[:, :width].double(), first[:, width:-1].double(), first[:, -1].double()
    own = transform.double().to(first.device)
    folded = [weight @ own[:, :-1], rest, (weight @ own[:, -1] + bias)[:, None]]
    return torch.cat(folded, dim=1).to(first.dtype)


def prior_scales(counts: Tensor, power: float = -0.25) -> Tensor:
    """Return the factors [pdfs] of the softmax's inputs: (count + 0.01 mean count)^power, divided by their mean.

    counts: training frames of each pdf (docs/mathematics.md 4.3.5).
    """
    counts = counts.double()
    scales = (counts + 0.01 * counts.mean()) ** power
    return scales / scales.mean()


def fold_above(last: Tensor, scales: Tensor) -> Tensor:
    """Return the output layer [pdfs, in + 1] whose outputs are those of `last` times `scales` [pdfs]."""
    return (last.double() * scales.to(last.device).double()[:, None]).to(last.dtype)
