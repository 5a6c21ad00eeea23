"""Triphones on spliced frames under LDA and MLLT (Kaldi's steps/train_lda_mllt.sh, its "tri2b").

LDA tells the PDFs of the triphones' alignment apart; on its dimensions a tree of its own is grown and mixtures are
trained as for triphones; before some iterations MLLT is estimated and multiplied to the transform, and the means move
with it. Silence counts neither for LDA nor for MLLT. Kaldi's random pruning, which only saves time, is left out.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisono.config.hmm import HmmOptions, LdaMlltOptions
from unisono.hmm import gmm, transform
from unisono.hmm.align import Shard
from unisono.hmm.lexicon import Lang
from unisono.hmm.model import HmmModel
from unisono.hmm.passes import Alignments, Corpus
from unisono.hmm.training import Plan, Progress, Trained, refine, triphone_start
from unisono.hmm.triphones import transition_table
from unisono.processes import map_shards

MLLT_ITERATIONS = (2, 4, 6, 12)
SPLIT_POWER = 0.2


def lda_mllt_plan(own: LdaMlltOptions) -> Plan:
    """Realign three times and grow as triphones do, at 10, 20, 30 and until 25 of Kaldi's 35 iterations."""
    count = own.iterations
    realign = frozenset(round(count * share / 35) for share in (10, 20, 30))
    return Plan(count, count * 25 // 35, own.gaussians, realign, gmm.MIN_OCCUPANCY, SPLIT_POWER)


def train_lda_mllt(
    lang: Lang,
    shards: Sequence[Shard],
    tri: HmmModel,
    alignments: Sequence[NDArray[np.int32]],
    options: HmmOptions,
    feature_options: dict[str, Any],
    processes: int,
    progress: Progress = lambda row: None,
) -> Trained:
    """Train on base features, [N, D] without deltas, from `alignments`: transition-ids of `tri`, 0 for no alignment.

    The report also says what LDA and each MLLT did. Raises UserError for too little data.
    """
    own = options.lda_mllt
    spoken = spoken_pdfs(tri, lang)
    matrix, values, classes = _lda(shards, [spoken[ids] for ids in alignments], tri.num_pdfs, own, processes)
    space = _Space(shards, own.splice, matrix)
    seen = space.frames()
    model, start = triphone_start(lang, seen, tri, alignments, own.leaves, feature_options, processes)
    corpus = Corpus(lang, seen, model, options, processes)
    pdf_ids, moves = spoken_pdfs(model, lang), []

    def adapt(iteration: int, model: HmmModel, parts: Sequence[Alignments]) -> HmmModel:
        if iteration not in MLLT_ITERATIONS:
            return model

        def task(index: int) -> transform.MlltStats:
            return transform.mllt_stats(model.gmms, corpus.shards[index].frames, pdf_ids[parts[index].ids])

        stats = transform.add_mllt_stats(map_shards(task, len(shards), processes))
        square, gain = transform.mllt(stats)
        moves.append({"iteration": iteration, "frames": round(stats.weight), "gain_per_frame": gain})
        space.matrix = square @ space.matrix
        corpus.shards = space.frames()
        means = (model.gmms.means @ square.T).astype(np.float32)
        return dataclasses.replace(model, gmms=model.gmms._replace(means=means))

    trained = refine(corpus, model, start, lda_mllt_plan(own), progress, adapt)
    final = dataclasses.replace(trained.model, transform=space.matrix.astype(np.float32), splice=own.splice)
    return Trained(final, {**trained.report, "lda": {"classes": classes, "ratios": values.tolist()}, "mllt": moves})


def spoken_pdfs(model: HmmModel, lang: Lang) -> NDArray[np.int32]:
    """Return the PDF of each transition-id [ids + 1], -1 for those of silence and for entry 0."""
    silent = np.isin(transition_table(model.transition_model).phone, list(lang.silence_ids))
    return np.where(silent, np.int32(-1), model.id2pdf)


def _lda(
    shards: Sequence[Shard], classes: Sequence[NDArray[np.int32]], count: int, own: LdaMlltOptions, processes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    def task(index: int) -> transform.ClassStats:
        shard = shards[index]
        return transform.class_stats(shard.frames, shard.offsets, classes[index], count, own.splice)

    stats = transform.add_class_stats(map_shards(task, len(shards), processes))
    matrix, values = transform.lda(stats, own.dim)
    return matrix, values, int(np.count_nonzero(stats.counts))


class _Space:
    """The corpus as the transform of the moment shows it."""

    def __init__(self, shards: Sequence[Shard], splice: int, matrix: NDArray[np.float64]) -> None:
        self._shards, self._splice, self.matrix = shards, splice, matrix

    def frames(self) -> list[Shard]:
        """Return the shards with transformed frames, [N, dim]."""
        return [self._transformed(shard) for shard in self._shards]

    def _transformed(self, shard: Shard) -> Shard:
        frames = np.empty((len(shard.frames), len(self.matrix)), np.float32)
        for begin, end in zip(shard.offsets[:-1], shard.offsets[1:], strict=True):
            frames[begin:end] = transform.apply(shard.frames[begin:end], self._splice, self.matrix)
        return shard._replace(frames=frames)
