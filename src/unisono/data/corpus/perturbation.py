"""Speed perturbation: more training data from the same recordings, heard faster and slower.

As Kaldi's `perturb_data_dir_speed_3way.sh` does it (Ko et al., "Audio augmentation for speech recognition",
Interspeech 2015): each copy has speakers and utterances of its own, GMMs never see it, the finished system aligns it,
and the network learns from it beside the training set. Only rows are made here; features resample what they read.
"""

import dataclasses
from collections.abc import Sequence

from unisono.data.corpus.table import Utterance
from unisono.errors import UserError


def perturbed(rows: Sequence[Utterance], speeds: Sequence[float]) -> list[Utterance]:
    """Return a copy of all rows for each speed, sorted by id; `sp0.9-` stands before the ids of those at 0.9.

    An utterance stays in its shard. Raises UserError where a new id is that of an utterance which is there already.
    """
    made = [
        dataclasses.replace(
            row,
            utterance_id=f"sp{speed:g}-{row.utterance_id}",
            speaker_id=f"sp{speed:g}-{row.speaker_id}",
            duration_s=row.duration_s / speed,
            speed=speed,
        )
        for speed in speeds
        for row in rows
    ]
    taken = {row.utterance_id for row in rows} & {row.utterance_id for row in made}
    if taken:
        raise UserError(
            f"speed_perturbation: utterance {min(taken)} is there already: rename it, or leave that speed out"
        )
    return sorted(made, key=lambda row: row.utterance_id)
