"""A seeded tenth of the training set that stands for dev in training, where dev has no alignments."""

import hashlib
from collections.abc import Sequence

from unisono.data.corpus.table import Utterance
from unisono.errors import UserError

SHARE = 10


def hold_out(rows: Sequence[Utterance], seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """Return the training set without its tenth, and the tenth, each in the order given.

    Which utterances these are depends on their ids and the seed, not on their order. Raises UserError for fewer than
    two utterances.
    """
    if len(rows) < 2:
        raise UserError(
            "hmm.kaldi.dev: train has no two utterances, of which one could stand for dev: give dev_alignments"
        )
    drawn = {row.utterance_id: hashlib.sha256(f"{seed} {row.utterance_id}".encode()).digest() for row in rows}
    tenth = set(sorted(drawn, key=drawn.__getitem__)[: max(1, round(len(rows) / SHARE))])
    return [row for row in rows if row.utterance_id not in tenth], [row for row in rows if row.utterance_id in tenth]
