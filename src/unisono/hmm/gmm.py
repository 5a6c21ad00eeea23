"""Diagonal Gaussian mixtures of all PDFs: likelihood, statistics, maximum-likelihood update, seeded splitting.

Everything works on the frames of one PDF at a time as matrix products, in float64 where sums are formed. The
constants and rules are Kaldi's (gmm/mle-diag-gmm.cc, gmm/diag-gmm.cc, gmm/model-common.cc); only the chance in the
splitting comes from our own generator, so that training repeats to the byte.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LOG_2PI = float(np.log(2.0 * np.pi))
MIN_WEIGHT = 1.0e-5
MIN_OCCUPANCY = 10.0
MIN_VARIANCE = 1.0e-3
MIN_SPLIT_COUNT = 20.0
SPLIT_POWER = 0.25
PERTURBATION = 0.01
BLOCK = 1024  # frames at a time in `log_likelihoods`: keeps the component scores in the cache


class Gmms(NamedTuple):
    """The mixtures of P PDFs, G Gaussians of D dimensions in all; PDF p owns offsets[p]:offsets[p + 1], never empty.

    All PDFs are without Gaussians, and D is 0, where a system has no mixtures (`none`).
    """

    weights: NDArray[np.float32]  # [G], positive, sum 1 within a PDF
    means: NDArray[np.float32]  # [G, D]
    variances: NDArray[np.float32]  # [G, D], positive
    offsets: NDArray[np.int64]  # [P + 1]

    @property
    def num_pdfs(self) -> int:
        """Return P."""
        return len(self.offsets) - 1

    @classmethod
    def none(cls, num_pdfs: int) -> "Gmms":
        """Return what stands for P PDFs without mixtures: those of a system whose acoustic model is a network."""
        empty = np.zeros((0, 0), np.float32)
        return cls(np.zeros(0, np.float32), empty, empty, np.zeros(num_pdfs + 1, np.int64))


class Stats(NamedTuple):
    """Sums over frames under their posterior probabilities, float64."""

    occupancy: NDArray[np.float64]  # [G]
    first: NDArray[np.float64]  # [G, D], sum of x
    second: NDArray[np.float64]  # [G, D], sum of x^2
    log_likelihood: float  # sum of log p(x | its PDF)
    frames: int


def single_gaussians(means: NDArray[np.floating], variances: NDArray[np.floating]) -> Gmms:
    """One Gaussian for each PDF, from rows of means and variances [P, D]; variances are floored at MIN_VARIANCE."""
    count = len(means)
    return Gmms(
        np.ones(count, np.float32),
        np.ascontiguousarray(means, np.float32),
        np.maximum(variances, MIN_VARIANCE).astype(np.float32),
        np.arange(count + 1, dtype=np.int64),
    )


def constants(gmms: Gmms) -> NDArray[np.float64]:
    """Return log w - 1/2 (D log 2π + Σ log v + Σ m²/v) of each Gaussian, [G]: its log density without x."""
    variances, means = gmms.variances.astype(np.float64), gmms.means.astype(np.float64)
    quadratic = (means * means / variances).sum(axis=1)
    dim = means.shape[1]
    return np.log(gmms.weights.astype(np.float64)) - 0.5 * (dim * LOG_2PI + np.log(variances).sum(axis=1) + quadratic)


class Scorer:
    """Log-likelihoods of all PDFs as one matrix product per block of frames (the quadratic form made once)."""

    def __init__(self, gmms: Gmms) -> None:
        """Prepare [G, 2 D] coefficients of (x, x²)."""
        inverse = 1.0 / gmms.variances.astype(np.float64)
        self._form = np.concatenate([gmms.means * inverse, -0.5 * inverse], axis=1).astype(np.float32)
        self._constants = constants(gmms).astype(np.float32)[:, None]
        self._starts = gmms.offsets[:-1]
        self._sizes = np.diff(gmms.offsets)

    def __call__(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return log p(x_t | pdf), [T, P] float32, for frames [T, D]."""
        scores = np.empty((len(frames), len(self._starts)), np.float32)
        for begin in range(0, len(frames), BLOCK):
            x = np.asarray(frames[begin : begin + BLOCK], np.float32)
            components = self._form @ np.concatenate([x, x * x], axis=1).T  # [G, T]
            components += self._constants
            best = np.maximum.reduceat(components, self._starts, axis=0)
            components -= np.repeat(best, self._sizes, axis=0)
            np.exp(components, out=components)
            scores[begin : begin + BLOCK] = (np.log(np.add.reduceat(components, self._starts, axis=0)) + best).T
        return scores


def accumulate(gmms: Gmms, frames: NDArray[np.floating], pdf_ids: NDArray[np.integer]) -> Stats:
    """Collect the statistics of frames [T, D] that belong to PDFs pdf_ids [T]; frames with a negative id are left out.

    The posterior of a Gaussian is taken within the mixture of the frame's PDF.
    """
    count, dim = gmms.means.shape
    occupancy, first, second = np.zeros(count), np.zeros((count, dim)), np.zeros((count, dim))
    total, used = 0.0, 0
    for part in posteriors(gmms, frames, pdf_ids):
        total += part.log_likelihood
        used += len(part.frames)
        occupancy[part.own] = part.posteriors.sum(axis=0)
        first[part.own] = part.posteriors.T @ part.frames
        second[part.own] = part.posteriors.T @ (part.frames * part.frames)
    return Stats(occupancy, first, second, total, used)


class Posteriors(NamedTuple):
    """The frames of one PDF: n frames, M Gaussians."""

    own: slice  # of the PDF's Gaussians
    frames: NDArray[np.float64]  # [n, D]
    posteriors: NDArray[np.float64]  # [n, M], of each Gaussian within the mixture
    log_likelihood: float  # sum of log p(x | PDF)


def posteriors(gmms: Gmms, frames: NDArray[np.floating], pdf_ids: NDArray[np.integer]) -> Iterator[Posteriors]:
    """Yield frames [T, D] and posteriors PDF by PDF, as pdf_ids [T] deal them; negative ids are left out."""
    form = constants(gmms)
    inverse = 1.0 / gmms.variances.astype(np.float64)
    linear = gmms.means * inverse
    order = np.argsort(pdf_ids, kind="stable")
    borders = np.searchsorted(pdf_ids[order], np.arange(gmms.num_pdfs + 1))
    for pdf in range(gmms.num_pdfs):
        rows = order[borders[pdf] : borders[pdf + 1]]
        if len(rows) == 0:
            continue
        own = slice(int(gmms.offsets[pdf]), int(gmms.offsets[pdf + 1]))
        x = frames[rows].astype(np.float64)
        scores = x @ linear[own].T - 0.5 * ((x * x) @ inverse[own].T) + form[own]  # [n, M]
        best = scores.max(axis=1, keepdims=True)
        shares = np.exp(scores - best)
        norm = shares.sum(axis=1, keepdims=True)
        yield Posteriors(own, x, shares / norm, float((np.log(norm) + best).sum()))


def add(parts: Sequence[Stats]) -> Stats:
    """Sum statistics in the order given."""
    occupancy, first, second = parts[0].occupancy.copy(), parts[0].first.copy(), parts[0].second.copy()
    for part in parts[1:]:
        occupancy += part.occupancy
        first += part.first
        second += part.second
    log_likelihood = math.fsum(part.log_likelihood for part in parts)
    return Stats(occupancy, first, second, log_likelihood, sum(part.frames for part in parts))


def update(gmms: Gmms, stats: Stats, min_occupancy: float = MIN_OCCUPANCY) -> Gmms:
    """Maximum-likelihood update: w = occ / Σocc, m = Σx / occ, v = max(Σx²/occ - m², MIN_VARIANCE).

    A Gaussian that fewer than `min_occupancy` frames support, or with less weight than MIN_WEIGHT, is removed and its
    weight goes to the others; the best one of a PDF stays as it was if all are that weak.
    """
    dim = gmms.means.shape[1]
    kept, weights = [], []
    for pdf in range(gmms.num_pdfs):
        own = np.arange(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        occupancy = stats.occupancy[own]
        share = occupancy / max(float(occupancy.sum()), 1.0e-10)
        strong = (occupancy > min_occupancy) & (share > MIN_WEIGHT)
        if not strong.any():
            strong[int(np.argmax(occupancy))] = True
        chosen = np.where(strong, share, 0.0)
        chosen = chosen if chosen.sum() > 0.0 else strong.astype(np.float64)
        kept.append(own[strong])
        weights.append(chosen[strong] / chosen.sum())
    rows = np.concatenate(kept)
    occupancy = stats.occupancy[rows][:, None]
    enough = np.broadcast_to(occupancy > min_occupancy, (len(rows), dim))
    safe = np.maximum(occupancy, 1.0e-10)
    means = np.where(enough, stats.first[rows] / safe, gmms.means[rows])
    spread = np.where(enough, stats.second[rows] / safe - means * means, gmms.variances[rows])
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in kept])]).astype(np.int64)
    return Gmms(
        np.concatenate(weights).astype(np.float32),
        means.astype(np.float32),
        np.maximum(spread, MIN_VARIANCE).astype(np.float32),
        offsets,
    )


def split_targets(occupancies: NDArray[np.floating], total: int, power: float = SPLIT_POWER) -> NDArray[np.int64]:
    """Share `total` Gaussians among PDFs by the `power`-th power of their frame counts [P].

    One at a time goes to the PDF with the largest count^power per Gaussian, as long as MIN_SPLIT_COUNT frames are
    left for each (Kaldi's GetSplitTargets).
    """
    targets = np.ones(len(occupancies), np.int64)
    shares = np.maximum(occupancies, 0.0) ** power
    queue = [(-float(shares[pdf]), pdf) for pdf in range(len(targets))]
    heapq.heapify(queue)
    left = total - len(targets)
    while left > 0 and queue:
        _, pdf = heapq.heappop(queue)
        if (targets[pdf] + 1) * MIN_SPLIT_COUNT >= occupancies[pdf]:
            continue
        targets[pdf] += 1
        left -= 1
        heapq.heappush(queue, (-float(shares[pdf] / targets[pdf]), pdf))
    return targets


def split(gmms: Gmms, targets: NDArray[np.integer], generator: np.random.Generator) -> Gmms:
    """Split the heaviest Gaussian of each PDF until it has `targets` [P] of them; none is taken away.

    The two halves share the weight and move apart by PERTURBATION standard deviations times a normal draw for each
    dimension, so the mean of the mixture stays (Kaldi's DiagGmm::Split).
    """
    weights, means, variances, counts = [], [], [], []
    for pdf in range(gmms.num_pdfs):
        own = slice(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        w, m, v = (list(part[own].astype(np.float64)) for part in gmms[:3])
        while len(w) < targets[pdf]:
            best = int(np.argmax(w))
            step = PERTURBATION * np.sqrt(v[best]) * generator.standard_normal(len(v[best]))
            w[best] /= 2.0
            w.append(w[best])
            m.append(m[best] + step)
            m[best] = m[best] - step
            v.append(v[best])
        weights += w
        means += m
        variances += v
        counts.append(len(w))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Gmms(np.float32(weights), np.float32(means), np.float32(variances), offsets)  # type: ignore[arg-type]
