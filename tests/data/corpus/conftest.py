"""Small corpora that tests write and then spoil."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.settings import section
from unisono.config.build import complete
from unisono.config.corpus import CorpusOptions, SpokenSize
from unisono.data.corpus.build import build

SPOKEN = section(
    SpokenSize,
    train_sentences=6,
    dev_sentences=2,
    test_sentences=4,
    lm_sentences=8,
    train_voices=3,
    dev_voices=1,
    test_voices=2,
    sampling_rate=8000,
)
LIBRISPEECH = {"train": ["train-a", "train-b"], "dev": ["dev"], "test": ["test"]}
OPTIONS = {
    "kind": "table",
    "dir": "my corpus",
    "shards": 2,
    "librispeech": LIBRISPEECH,
    "spoken": complete(SPOKEN),
}


class Corpus:
    """A sound table corpus in a folder with spaces, quotes and a dollar sign in its path."""

    spoken = SPOKEN
    heading = "utterance_id\tspeaker_id\tpath\ttranscript\tsplit"

    def __init__(self, root: Path) -> None:
        self.root = root / 'it\'s "mine" $(here)'
        self.folder, self.out = self.root / "my corpus", self.root / "out"
        (self.folder / "audio").mkdir(parents=True)
        self.rows = [
            "u1\tanna\taudio/u1.wav\tONE TWO\ttrain",
            "u2\tanna\taudio/u2.flac\tTWO\ttrain",
            "u3\tbob\taudio/u3.wav\tTWO ONE ONE\ttrain",
            "d1\tcarl\taudio/d1.flac\tONE\tdev",
            "t1\tdora\taudio/t1.wav\tTWO TWO\ttest",
        ]
        for number, row in enumerate(self.rows):
            self.sound(row.split("\t")[2], 0.1 * (number + 1))
        self.table = self.folder / "utterances.tsv"
        self.lexicon = self.folder / "lexicon.txt"
        self.lexicon.write_text("ONE  W AH N\nTWO  T UW\n")

    def sound(self, name: str, seconds: float, rate: int = 8000, channels: int = 1) -> Path:
        """Write a tone."""
        wave = np.rint(1000 * np.sin(np.arange(int(seconds * rate)) * 0.3)).astype(np.int16)
        path = self.folder / name
        soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
        return path

    @staticmethod
    def options(**changes: Any) -> Any:
        """Return the section `corpus` with what this corpus needs."""
        return section(CorpusOptions, **OPTIONS | changes)

    def build(self, **changes: Any) -> dict[str, Any]:
        """Write the table unless it is there, build, and return corpus.json's content."""
        if not self.table.exists():
            self.table.write_text("\n".join([self.heading, *self.rows]) + "\n")
        return build(self.options(**changes), self.root, self.out)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)
