"""A split for the HMM stage: its corpus as shards in memory, and the file of its alignments."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unisono.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unisono.data.features.reader import FeatureReader
    from unisono.hmm.align import Shard
    from unisono.hmm.lexicon import Lang
    from unisono.hmm.model import HmmModel
    from unisono.hmm.passes import Alignments

KIND = "alignment"
TRANSITIONS = "transition_ids"

logger = logging.getLogger("unisono.hmm")


def load_shards(lang: "Lang", reader: "FeatureReader") -> "list[Shard]":
    """Load transcripts and features of the split, float32, shard by shard.

    A corpus needs 4 bytes per feature value: 56 MB an hour of 39 features at 100 frames a second.
    """
    from unisono.hmm.align import transcript_ids

    words = transcript_ids(lang, {u.utterance_id: u.words for u in reader.utterances})
    shards = [_load(reader, utts, words) for utts in reader.shards]
    logger.info("%d utterances, %d frames", len(reader), sum(len(shard.frames) for shard in shards))
    return shards


def _load(reader: "FeatureReader", utts: Sequence[str], words: dict[str, list[int]]) -> "Shard":
    import numpy as np

    from unisono.hmm.align import Shard

    offsets = np.concatenate([[0], np.cumsum([reader.num_frames(utt) for utt in utts])]).astype(np.int64)
    frames = np.empty((offsets[-1], reader.options.dim), np.float32)
    for number, utt in enumerate(utts):
        if offsets[number] < offsets[number + 1]:
            frames[offsets[number] : offsets[number + 1]] = reader.get(utt)
    return Shard(list(utts), [words[utt] for utt in utts], frames, offsets)


def log_iteration(advance: Callable[..., None]) -> Callable[[dict[str, Any]], None]:
    """Return what is called after each iteration of a training: a log line and a step of the bar."""

    def log(row: dict[str, Any]) -> None:
        logger.info(
            "iteration %d: %d Gaussians, %.4f nats per frame, %d aligned, %d failed%s",
            row["iteration"], row["gaussians"], row["log_likelihood_per_frame"], row["aligned"], row["failed"],
            " (realigned)" if row["realigned"] else "",
        )  # fmt: skip
        advance()

    return log


def log_failures(report: Mapping[str, Any]) -> None:
    """Warn of each utterance that could not be aligned; `report` as `align_corpus` gives it."""
    for row in report["failed"]:
        logger.warning("%s: not aligned: %s", row["utterance_id"], row["reason"])


def write_alignments(
    path: str, model: "HmmModel", model_path: str, shards: "Sequence[Shard]", parts: "Sequence[Alignments]"
) -> None:
    """Write /ids (PDFs) and /transition_ids of the aligned utterances; attributes num_pdfs and the model's digest."""
    from unisono.data.sequences import write_sequences
    from unisono.files import sha256

    found = sorted(
        (utt, part.ids[shard.offsets[number] : shard.offsets[number + 1]])
        for shard, part in zip(shards, parts, strict=True)
        for number, utt in enumerate(shard.utts)
        if number not in part.failed
    )
    write_sequences(
        path,
        ((utt, {"ids": model.id2pdf[ids], TRANSITIONS: ids}) for utt, ids in found),
        kind=KIND,
        attrs={"num_pdfs": model.num_pdfs, "model_sha256": sha256(model_path)},
    )


def load_alignments(path: str, model_path: str, shards: "Sequence[Shard]") -> "list[NDArray[np.int32]]":
    """Read transition-ids by shard, [N], 0 where an utterance has none.

    Raises UserError if they were made by another model or do not fit the features.
    """
    import numpy as np

    from unisono.data.sequences import Sequences
    from unisono.files import sha256

    with Sequences(path, kind=KIND) as store:
        if store.attrs.get("model_sha256") != sha256(model_path):
            raise UserError(f"{path}: not made with {model_path}: align anew")
        parts = []
        for shard in shards:
            ids = np.zeros(len(shard.frames), np.int32)
            for number, utt in enumerate(shard.utts):
                if utt in store:
                    own = store.get(utt, TRANSITIONS)
                    begin, end = shard.offsets[number], shard.offsets[number + 1]
                    if len(own) != end - begin:
                        raise UserError(f"{path}: {utt}: {len(own)} frames, its features {end - begin}: align anew")
                    ids[begin:end] = own
            parts.append(ids)
    return parts
