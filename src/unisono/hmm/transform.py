"""Linear transforms of spliced frames: LDA to fewer dimensions, MLLT to make the covariances of Gaussians diagonal.

LDA (linear discriminant analysis; Fukunaga 1990, ch. 10): the rows of the transform are the generalised eigenvectors
of B v = λ W v with the largest λ, where B and W are the covariances between and within classes, so scaled that W
becomes the identity.

MLLT (maximum likelihood linear transform, also STC; Gales 1999, "Semi-tied covariance matrices for hidden Markov
models"): the square matrix A that maximises, over the frames of all Gaussians m,

    β log |det A| - 1/2 Σ_i a_i G_i a_iᵀ,    G_i = Σ_m 1/v_mi Σ_t γ_m(t) (x_t - μ_m)(x_t - μ_m)ᵀ,    β = Σ_mt γ_m(t)

with a_i the rows of A. One row at a time has a closed solution (his equation 22), with c_i the row's cofactors:

    a_i = c_i G_i⁻¹ sqrt(β / (c_i G_i⁻¹ c_iᵀ))
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from unisono.errors import UserError
from unisono.hmm import gmm

SWEEPS = 200  # over all rows, at most (Kaldi: always)
ENOUGH = 1.0e-9  # nats a frame: a sweep that gains less is the last
FRAMES_A_DIMENSION = 10


def splice(frames: NDArray[np.floating], context: int) -> NDArray[np.float32]:
    """Return each frame of one utterance [T, D] between its neighbours, float32 [T, (2 context + 1) D].

    From `context` frames before to as many after; beyond the ends the first and the last frame are repeated.
    """
    steps = np.arange(len(frames))[:, None] + np.arange(-context, context + 1)
    width = steps.shape[1] * frames.shape[1]
    return np.asarray(frames, np.float32)[np.clip(steps, 0, max(len(frames) - 1, 0))].reshape(len(frames), width)


def apply(frames: NDArray[np.floating], context: int, transform: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the frames of one utterance [T, D] spliced and transformed, float32 [T, rows of the transform].

    `transform`: [dim, (2 context + 1) D]. Always utterance by utterance, so that training, alignment and decoding see
    the same bytes.
    """
    return splice(frames, context) @ transform.astype(np.float32).T


class ClassStats(NamedTuple):
    """Sums over frames for LDA, C classes, float64."""

    counts: NDArray[np.float64]  # [C]
    first: NDArray[np.float64]  # [C, D], sum of x by class
    second: NDArray[np.float64]  # [D, D], sum of x xᵀ over all classes


def class_stats(
    frames: NDArray[np.float32],
    offsets: NDArray[np.int64],
    classes: NDArray[np.integer],
    num_classes: int,
    context: int,
) -> ClassStats:
    """Sum spliced frames by class: frames [N, D] of utterances [offsets], classes [N], negative ones left out."""
    width = (2 * context + 1) * frames.shape[1]
    counts, first = np.zeros(num_classes), np.zeros((num_classes, width))
    second = np.zeros((width, width))
    for begin, end in zip(offsets[:-1], offsets[1:], strict=True):
        chosen = np.flatnonzero(classes[begin:end] >= 0)
        if len(chosen) == 0:
            continue
        own = classes[begin:end][chosen]
        order = np.argsort(own, kind="stable")
        x = splice(frames[begin:end], context)[chosen[order]].astype(np.float64)
        present, starts, sizes = np.unique(own[order], return_index=True, return_counts=True)
        counts[present] += sizes
        first[present] += np.add.reduceat(x, starts, axis=0)
        second += x.T @ x
    return ClassStats(counts, first, second)


def add_class_stats(parts: Sequence[ClassStats]) -> ClassStats:
    """Sum statistics in the order given."""
    return ClassStats(*(np.sum([part[field] for part in parts], axis=0) for field in range(3)))


def lda(stats: ClassStats, dim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the transform [dim, D] and its λ [dim], largest first; the largest entry of each row is positive.

    Raises UserError where `dim` needs more classes, more features or more frames than there are.
    """
    used, width = stats.counts > 0.0, stats.second.shape[0]
    counts = stats.counts[used]
    if dim > width or dim >= len(counts):
        raise UserError(
            f"hmm.lda_mllt.dim: {dim} is too many for {width} spliced features and {len(counts)} classes of frames: "
            f"take at most {max(min(width, len(counts) - 1), 1)}, or more leaves in hmm.tri"
        )
    total = counts.sum()
    means, mean = stats.first[used] / counts[:, None], stats.first[used].sum(axis=0) / total
    away = means - mean
    between = (away * (counts / total)[:, None]).T @ away
    within = stats.second / total - np.outer(mean, mean) - between
    try:
        root = scipy.linalg.cholesky((within + within.T) / 2.0, lower=True)
    except scipy.linalg.LinAlgError:
        raise UserError(
            f"hmm.lda_mllt: the {int(total)} aligned frames leave the covariance of {width} spliced features singular: "
            "take more training data or a smaller hmm.lda_mllt.splice"
        ) from None
    half = scipy.linalg.solve_triangular(root, between, lower=True)
    white = scipy.linalg.solve_triangular(root, half.T, lower=True)
    values, vectors = scipy.linalg.eigh((white + white.T) / 2.0)
    best = np.argsort(-values, kind="stable")[:dim]
    rows = scipy.linalg.solve_triangular(root, vectors[:, best], lower=True, trans=1).T
    # An eigenvector has no sign of its own: one is chosen, lest it change with the library.
    signs = np.sign(rows[np.arange(dim), np.abs(rows).argmax(axis=1)])
    return rows * signs[:, None], values[best]


class MlltStats(NamedTuple):
    """Sums for MLLT, float64."""

    weight: float  # β, frames
    squares: NDArray[np.float64]  # [D, D, D]: G_i for each row i


def mllt_stats(gmms: gmm.Gmms, frames: NDArray[np.floating], pdf_ids: NDArray[np.integer]) -> MlltStats:
    """Collect β and G from frames [T, D] that belong to PDFs pdf_ids [T]; negative ids are left out."""
    dim = gmms.means.shape[1]
    squares, weight = np.zeros((dim, dim, dim)), 0.0
    means, inverse = gmms.means.astype(np.float64), 1.0 / gmms.variances.astype(np.float64)
    for part in gmm.posteriors(gmms, frames, pdf_ids):
        spreads = np.empty((part.posteriors.shape[1], dim, dim))
        for number, (share, mean) in enumerate(zip(part.posteriors.T, means[part.own], strict=True)):
            away = part.frames - mean
            spreads[number] = (away * share[:, None]).T @ away
        squares += np.tensordot(inverse[part.own], spreads, axes=(0, 0))
        weight += float(part.posteriors.sum())
    return MlltStats(weight, squares)


def add_mllt_stats(parts: Sequence[MlltStats]) -> MlltStats:
    """Sum statistics in the order given."""
    return MlltStats(float(sum(part.weight for part in parts)), np.sum([part.squares for part in parts], axis=0))


def objective(stats: MlltStats, matrix: NDArray[np.float64]) -> float:
    """Return what MLLT maximises, in nats a frame (up to a constant)."""
    quadratic = np.einsum("ij,ijk,ik->", matrix, stats.squares, matrix)
    return float(np.linalg.slogdet(matrix)[1] - 0.5 * quadratic / stats.weight)


def mllt(stats: MlltStats) -> tuple[NDArray[np.float64], float]:
    """Return the matrix [D, D] found from the identity by row updates, and its gain in nats a frame.

    Raises UserError for too few frames: FRAMES_A_DIMENSION for each dimension, and enough to invert each G.
    """
    dim = len(stats.squares)
    if stats.weight < FRAMES_A_DIMENSION * dim:
        raise UserError(
            f"hmm.lda_mllt: {stats.weight:.0f} frames that are not silence are too few for {dim} dimensions: "
            "take more training data or a lower hmm.lda_mllt.dim"
        )
    try:
        inverses = np.linalg.inv(stats.squares)
    except np.linalg.LinAlgError:
        raise UserError("hmm.lda_mllt: a feature is constant: choose other features or a lower dim") from None
    matrix = np.eye(dim)
    start = now = objective(stats, matrix)
    for _ in range(SWEEPS):
        for row in range(dim):
            # The cofactors of a row, up to a factor that its scaling takes away, are a column of the inverse.
            cofactors = np.linalg.inv(matrix)[:, row]
            pointing = inverses[row] @ cofactors
            matrix[row] = pointing * np.sqrt(stats.weight / (cofactors @ pointing))
        before, now = now, objective(stats, matrix)
        if now - before < ENOUGH:
            break
    return matrix, now - start
