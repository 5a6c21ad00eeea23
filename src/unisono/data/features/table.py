"""Base features of the utterances of a corpus's table."""

from collections.abc import Iterable, Iterator

import numpy as np

from unisono.data.corpus.audio import change_speed, read_audio
from unisono.data.corpus.table import Utterance
from unisono.data.features.extract import FeatureOptions, base_features
from unisono.errors import UserError


def features_of_table(table: Iterable[Utterance], options: FeatureOptions) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield (utterance id, base features float32 [t, base_dim], sampling rate in Hz), reading each recording once.

    Raises UserError where rates differ or do not fit the options.
    """
    first_rate = None
    for utterance in table:
        samples, rate = read_audio(utterance.path)
        if first_rate is None:
            options.check(rate)
            first_rate = rate
        elif rate != first_rate:
            raise UserError(f"{utterance.path}: {rate} Hz, the rest has {first_rate} Hz: run the corpus stage anew")
        if utterance.speed != 1:
            samples = change_speed(samples, utterance.speed)
        yield utterance.utterance_id, base_features(samples, rate, options, utterance.utterance_id), rate
