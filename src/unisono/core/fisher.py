"""The Fisher estimate of online natural gradient, one factor: equations of docs/mathematics.md 6.1.2 to 6.1.5.

F = R^T D R + rho I with R orthonormal rows [R, dim]; kept as W = E^(1/2) R, d and rho. Large matrices have the dtype of
the data; everything of size R is float64, because it holds fourth powers of the data.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unisono.core import flat

EPSILON = 1e-10  # floor of rho and d
CONDITION = 1e6  # of Z, from which on the rows of R are checked
ORTHONORMAL = 1e-3  # largest deviation of an element of R R^T from the unit matrix that is let pass
LARGEST_INVERSE = 100.0  # element of the inverse Cholesky factor from which on it is not trusted


class Form(NamedTuple):
    """What changed in Kaldi's code over the years; docs/mathematics.md 6.1.4 and 6.1.5 have the forms.

    Pattern start 2015-11; delta nnet3 2015-09, nnet2 2015-11-30; floor_d, largest_eta and the repair nnet3 2015-12-25,
    nnet2 2016-01-01; one_pass nnet3 2016-12-08; the last of the initial updates nnet3 2017-12; half ranks 2018-07.

    eigen_start: start from eigenvectors of the first minibatch, else from a fixed pattern and passes over it.
    initial_updates: the estimate is updated on calls 0 to this one, later once per period.
    one_pass: start from the pattern with one pass, not three, where the first minibatch has no more rows than R.
    delta: floor of rho, and of d if floor_d, relative to the largest eigenvalue.
    largest_eta: cap of the forgetting factor.
    gram_schmidt: repair lost orthogonality by Gram-Schmidt where Cholesky fails, else by a fresh start of R.
    """

    eigen_start: bool
    initial_updates: int
    one_pass: bool
    delta: float
    floor_d: bool
    largest_eta: float
    gram_schmidt: bool


class Factor(NamedTuple):
    """A Fisher factor: w [R, dim] in the data's dtype (padded rows), d [R] float64 decreasing, rho > 0."""

    w: Tensor
    d: Tensor
    rho: float


def inverse_weights(d: Tensor, rho: float, alpha: float, dim: int) -> Tensor:
    """Return e [R], float64, of beta G^-1 = I - R^T E R (docs/mathematics.md 6.1.2).

    beta = rho (1 + alpha) + alpha/dim tr D and e_i = 1/(beta/d_i + 1).
    """
    beta = rho * (1.0 + alpha) + alpha / dim * float(d.sum())
    return 1.0 / (beta / d + 1.0)


def pattern_start(rank: int, dim: int, alpha: float, like: Tensor) -> Factor:
    """Return the start of the later forms: sparse orthonormal rows, rho = d = epsilon (docs/mathematics.md 6.1.5)."""
    w = flat.matrix(rank, dim, like)
    d = torch.full((rank,), EPSILON, dtype=torch.float64)
    scale = inverse_weights(d, EPSILON, alpha, dim).sqrt()
    for row in range(rank):
        entries = torch.ones(len(range(row, dim, rank)), dtype=torch.float64)
        entries[0] = 1.1
        w[row, row::rank] = (entries * (scale[row] / entries.norm())).to(w)
    return Factor(w, d, EPSILON)


def eigen_start(x: Tensor, rank: int, alpha: float, delta: float) -> Factor:
    """Return the start of 2014: the leading eigenvectors of X^T X / N (docs/mathematics.md 6.1.5).

    x: [N, dim]. Where N < R the missing rows are unit vectors made orthogonal (Kaldi draws them).
    """
    rows, dim = x.shape
    _, singular, basis = torch.linalg.svd(x.double().cpu(), full_matrices=False)
    found = min(rank, rows)
    values = torch.zeros(rank, dtype=torch.float64)
    values[:found] = singular[:found].square() / rows
    directions = torch.zeros(rank, dim, dtype=torch.float64)
    directions[:found] = basis[:found]
    orthonormal_rows_(directions)
    trace = float(singular.square().sum()) / rows
    rho = (trace - float(values.sum())) / (dim - rank)
    rho = max(rho, EPSILON, delta * float(values.max()))
    d = (values - rho).clamp(min=EPSILON)
    w = flat.matrix(rank, dim, x)
    w.copy_(inverse_weights(d, rho, alpha, dim).sqrt()[:, None] * directions)
    return Factor(w, d, rho)


class FactorUpdate(NamedTuple):
    """What an update makes of a factor: W' = left (J + scale W), the rows of W scaled; d, rho and sqrt(e) afterwards.

    left [R, R], scale, d, sqrt_e [R]: float64 on the CPU. repair: whether the rows may no longer be orthonormal.
    """

    left: Tensor
    scale: Tensor
    d: Tensor
    rho: float
    sqrt_e: Tensor
    repair: bool


def update_for(
    factor: Factor, big_l: Tensor, big_k: Tensor, rows: int, trace: float, eta: float, alpha: float, form: Form
) -> FactorUpdate | None:
    """Return one power step towards (eta/N) X^T X + (1 - eta) F (docs/mathematics.md 6.1.4).

    big_l: H^T H with H^T = W X^T, big_k: J J^T with J = H^T X; both [R, R], float64, on the CPU. rows: N. trace:
    tr(X X^T). eta in (0, 1). None where the numbers overflow or the eigenproblem fails: the factor then stays.
    """
    w, d, rho = factor
    dim = w.shape[1]
    a, keep = eta / rows, 1.0 - eta
    p = d + rho
    inv_sqrt_e = inverse_weights(d, rho, alpha, dim).rsqrt()
    big_l, big_k = (big * inv_sqrt_e * inv_sqrt_e[:, None] for big in (big_l, big_k))
    z = a * a * big_k + a * keep * big_l * (p + p[:, None])
    z.diagonal().add_(keep * keep * p.square())
    if not math.isfinite(float(z.abs().sum())):
        return None
    try:
        c, u = torch.linalg.eigh(z)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        return None
    c, u = c.flip(0), u.flip(1)
    c_floor = (rho * keep) ** 2
    repair = float(c[0]) > CONDITION * float(c[-1]) or bool((c < c_floor).any())
    root = c.clamp(min=c_floor).sqrt()
    total = a * trace + keep * (dim * rho + float(d.sum()))
    new_d, new_rho = _split(root, total, dim, form)
    sqrt_e = inverse_weights(new_d, new_rho, alpha, dim).sqrt()
    left = a * (sqrt_e / root)[:, None] * u.t() * inv_sqrt_e
    return FactorUpdate(left, keep / a * p, new_d, new_rho, sqrt_e, repair)


def apply_(w: Tensor, j: Tensor, left: Tensor, scale: Tensor, update: FactorUpdate, form: Form) -> None:
    """Apply an update to W [R, dim] in place. left, scale: its own, with the type and on the device of `w`.

    `j` is overwritten.
    """
    j.addcmul_(scale[:, None], w)  # B = J + (1 - eta)/a P W
    torch.mm(left, j, out=w)
    if update.repair:
        _repair_(w, update.sqrt_e, form)


def gram(m: Tensor) -> Tensor:
    """Return M M^T [R, R] of m [R, N]; in float64 although m may be float32: it may hold fourth powers of the data."""
    double = m.double()
    return double @ double.t()


def _split(root: Tensor, total: float, dim: int, form: Form) -> tuple[Tensor, float]:
    """Split eigenvalues sqrt(c) [R] into d and rho so that dim rho + tr D = total, then floor both."""
    rho = (total - float(root.sum())) / (dim - len(root))
    floor = max(EPSILON, form.delta * float(root[0]))
    d = (root - rho).clamp(min=floor if form.floor_d else EPSILON)
    return d, max(rho, floor)


def _repair_(w: Tensor, sqrt_e: Tensor, form: Form) -> None:
    """Make the rows of E^(-1/2) W orthonormal again, in place, if they no longer are (docs/mathematics.md 6.1.4)."""
    rank, dim = w.shape
    inv_sqrt_e = 1.0 / sqrt_e
    overlap = gram(w).cpu() * inv_sqrt_e * inv_sqrt_e[:, None]
    unit = torch.eye(rank, dtype=torch.float64)
    if float((overlap - unit).abs().max()) <= ORTHONORMAL:
        return
    lower, failed = torch.linalg.cholesky_ex(overlap)
    if not failed:
        inverse = torch.linalg.solve_triangular(lower, unit, upper=False)
        # Not finite counts as failed too.
        if not form.gram_schmidt or float(inverse.max()) < LARGEST_INVERSE:
            w.copy_((sqrt_e[:, None] * inverse * inv_sqrt_e).to(w) @ w)
            return
    rows = w.double().cpu()
    if form.gram_schmidt:
        orthonormal_rows_(rows)
    else:
        rows = torch.eye(rank, dim, dtype=torch.float64)
    w.copy_(sqrt_e[:, None] * rows)


def orthonormal_rows_(rows: Tensor) -> None:
    """Make rows [R, dim], R <= dim, float64, orthonormal in place by Gram-Schmidt in order.

    A row that vanishes is replaced by the next unit vector that does not.
    """
    spare = iter(range(rows.shape[1]))
    for index, row in enumerate(rows):
        before = rows[:index]
        while True:
            start = float(row.dot(row))
            if math.isfinite(start) and start > 0.0:
                row -= before.t() @ (before @ row)
                end = float(row.dot(row))
                if end > 0.01 * start:  # else round-off dominates what is left: once more
                    row /= math.sqrt(end)
                    break
                if end > 1e-20 * start:
                    continue
            row.zero_()
            row[next(spare)] = 1.0
