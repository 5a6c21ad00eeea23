"""Features as models read them: base features of a split's shards, normalised, with deltas.

    reader = FeatureReader("data/train.tsv", ["features/hmm/train.0.h5", ...], "features/hmm/train.cmvn.h5", options)
    for utterance, features in reader: ...          # table order, features float32 [t, options.dim]
    reader.get("utt1"); reader.shards               # random access; utterance ids by shard, for pools of processes

A reader holds maps of files only, so forked processes may share it.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from unisono.config.features import FeatureOptions
from unisono.data.corpus.table import Utterance, read_table
from unisono.data.features import cmvn
from unisono.data.features.extract import add_deltas
from unisono.data.sequences import Sequences
from unisono.errors import UserError

KIND = "features"


class BaseReader:
    """All utterances of one split with their base features, by maps of the shards' files."""

    def __init__(
        self,
        table: str | os.PathLike[str],
        features: Sequence[str | os.PathLike[str]],
        options: FeatureOptions,
        shard: int | None = None,
    ) -> None:
        """Open the files of all shards, or of the one given.

        Raises UserError where an utterance is missing or the dimension does not fit.
        """
        self.options = options
        self.utterances: list[Utterance] = read_table(table, shard)
        self._rows = {u.utterance_id: u for u in self.utterances}
        self._stores = [Sequences(path, kind=KIND) for path in features]
        self._home = {utt: store for store in self._stores for utt in store.utts}
        for store in self._stores:
            if store.attrs.get("dim") != options.base_dim:
                raise UserError(
                    f"{store.path}: {store.attrs.get('dim')} features a frame, the config says {options.base_dim}: "
                    "run the features stage anew"
                )
        for u in self.utterances:
            if u.utterance_id not in self._home:
                raise UserError(
                    f"{table}: utterance {u.utterance_id}: in no feature file given: run the features stage anew"
                )

    @property
    def dim(self) -> int:
        """Return the number of features a frame that a network reads."""
        return self.options.dim

    @property
    def frame_shift_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.options.frame_shift_ms / 1000

    @property
    def shards(self) -> list[list[str]]:
        """Utterance ids of each shard, shard 0 first, each in table order (a shard may be empty)."""
        shards: list[list[str]] = [[] for _ in range(1 + max((u.shard for u in self.utterances), default=-1))]
        for u in self.utterances:
            shards[u.shard].append(u.utterance_id)
        return shards

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utterances)

    def utterance(self, utt: str) -> Utterance:
        """Return the table's row of an utterance."""
        return self._rows[utt]

    def num_frames(self, utt: str) -> int:
        """Return the number of frames of an utterance without reading them."""
        store = self._home[utt]
        index = store.index(utt)
        return int(store.offsets[index + 1] - store.offsets[index])

    def base(self, utt: str) -> np.ndarray:
        """Return base features float32 [t, options.base_dim]."""
        return self._home[utt].get(utt)


class FeatureReader(BaseReader):
    """All utterances of one split with their features after CMVN and deltas."""

    def __init__(
        self,
        table: str | os.PathLike[str],
        features: Sequence[str | os.PathLike[str]],
        cmvn_path: str | os.PathLike[str],
        options: FeatureOptions,
        shard: int | None = None,
    ) -> None:
        """Open the files of all shards, or of the one given.

        Raises UserError where an utterance, a speaker or the dimension does not fit.
        """
        super().__init__(table, features, options, shard)
        self._norms: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if options.cmvn == "none":
            return
        stats = cmvn.read_statistics(cmvn_path, options.base_dim)
        for u in self.utterances:
            if (key := self._key(u)) not in stats:
                raise UserError(f"{cmvn_path}: speaker {key}: no statistics: run the features stage anew")
        self._norms = {key: cmvn.offset_and_scale(value, options.cmvn_variance) for key, value in stats.items()}

    def __iter__(self) -> Iterator[tuple[Utterance, np.ndarray]]:
        """Iterate over (utterance, features) in table order."""
        return ((u, self.get(u.utterance_id)) for u in self.utterances)

    def get(self, utt: str) -> np.ndarray:
        """Return features after CMVN and deltas, float32 [t, options.dim]."""
        features = self.base(utt)
        if self._norms:
            features = cmvn.apply(features, *self._norms[self._key(self._rows[utt])])
        return add_deltas(features, self.options.deltas) if self.options.deltas else features

    def _key(self, utterance: Utterance) -> str:
        return utterance.speaker_id if self.options.cmvn == "speaker" else cmvn.GLOBAL
