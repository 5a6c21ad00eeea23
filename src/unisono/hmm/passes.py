"""One pass over a corpus in memory: align every utterance, in a pool of processes over the fixed shards."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.config.hmm import HmmOptions
from unisono.errors import UserError
from unisono.hmm.align import Aligned, Aligner, MinimumFrames, Scorer, Shard, compile_graphs, equal_align, obstacle
from unisono.hmm.lexicon import Lang
from unisono.hmm.model import HmmModel
from unisono.processes import map_shards


class Alignments(NamedTuple):
    """Alignments of one shard."""

    ids: NDArray[np.int32]  # [N] transition-ids, 0 for the frames of failed utterances
    failed: dict[int, str]  # reason by number of the utterance
    retried: int
    log_likelihood: float  # of all frames aligned, transitions included


class Corpus:
    """Shards with their training graphs. The graphs fit every model of one tree and topology."""

    def __init__(
        self,
        lang: Lang,
        shards: Sequence[Shard],
        model: HmmModel,
        options: HmmOptions,
        processes: int,
        scorer: Scorer | None = None,
    ) -> None:
        """Compile the graphs; they cannot travel between processes, so this is done before the pool forks.

        With a `scorer`, its log-likelihoods align, and the frames are those of its own features.
        """
        self.shards, self.options, self.processes = shards, options, processes
        self._scorer = scorer
        self._minimum = MinimumFrames(lang)
        self._graphs = [compile_graphs(model, lang, shard.words) for shard in shards]

    def flat(self, model: HmmModel) -> list[Alignments]:
        """Align each utterance by chance, states of about equal length."""
        seed = self.options.seed

        def task(index: int) -> Alignments:
            def align(number: int, utt: str, frames: NDArray[np.float32]) -> Aligned:
                ids = equal_align(self._graphs[index][number], utt, len(frames), seed)
                return Aligned(ids, "no path of its length through its transcript", 0.0, False)

            return self._align(model, index, align)

        return map_shards(task, len(self.shards), self.processes)

    def viterbi(self, model: HmmModel) -> list[Alignments]:
        """Align with a model."""
        prepare(model)
        return map_shards(lambda index: self.viterbi_shard(model, index), len(self.shards), self.processes)

    def viterbi_shard(self, model: HmmModel, index: int) -> Alignments:
        """Align one shard with a model, in this process."""
        options, graphs = self.options, self._graphs[index]
        aligner = Aligner(model, options.beam, options.retry_beam, options.acoustic_scale, self._scorer)
        return self._align(model, index, lambda number, utt, frames: aligner(graphs[number], utt, frames))

    def _align(
        self, model: HmmModel, index: int, align: Callable[[int, str, NDArray[np.float32]], Aligned]
    ) -> Alignments:
        shard = self.shards[index]
        ids = np.zeros(len(shard.frames), np.int32)
        failed, retried, total = {}, 0, 0.0
        for number, utt in enumerate(shard.utts):
            begin, end = shard.offsets[number], shard.offsets[number + 1]
            frames = shard.frames[begin:end]
            reason = obstacle(None if self._scorer else model, self._minimum, shard.words[number], frames)
            found = Aligned(None, reason, 0.0, False) if reason else align(number, utt, frames)
            if found.ids is None:
                failed[number] = found.reason
                continue
            ids[begin:end] = found.ids
            retried += found.retried
            total += found.log_likelihood
        return Alignments(ids, failed, retried, total)

    def failures(self, parts: Sequence[Alignments]) -> list[dict[str, str]]:
        """Return the failed utterances with their reasons, sorted by utterance."""
        rows = [
            {"utterance_id": shard.utts[number], "reason": reason}
            for shard, part in zip(self.shards, parts, strict=True)
            for number, reason in part.failed.items()
        ]
        return sorted(rows, key=lambda row: row["utterance_id"])

    def report(self, parts: Sequence[Alignments]) -> dict[str, Any]:
        """Count what was aligned. Raises UserError, with an example, if nothing was."""
        count, failed = sum(len(shard.utts) for shard in self.shards), self.failures(parts)
        frames = sum(int(np.count_nonzero(part.ids)) for part in parts)
        if frames == 0:
            example = f" ({failed[0]['utterance_id']}: {failed[0]['reason']})" if failed else ""
            raise UserError(f"none of the {count} utterances can be aligned{example}: check transcripts and audio")
        return {
            "utterances": count,
            "aligned": count - len(failed),
            "retried": sum(part.retried for part in parts),
            "frames": frames,
            "log_likelihood_per_frame": math.fsum(part.log_likelihood for part in parts) / frames,
            "failed": failed,
        }


def align_corpus(
    model: HmmModel,
    lang: Lang,
    shards: Sequence[Shard],
    options: HmmOptions,
    processes: int,
    scorer: Scorer | None = None,
) -> tuple[list[Alignments], dict[str, Any]]:
    """Align a corpus with a finished model, or with a `scorer` on its tree: alignments by shard, and the report."""
    corpus = Corpus(lang, shards, model, options, processes, scorer)
    parts = corpus.viterbi(model)
    return parts, corpus.report(parts)


def prepare(model: HmmModel) -> None:
    """Make what the forked processes would otherwise each make for themselves."""
    _ = model.am_gmm, model.transition_model, model.id2pdf
