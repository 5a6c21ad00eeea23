"""The section `corpus`: recordings, transcripts, lexicon and text of the language model."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from unisono.config.markers import Kinds, Section, Unique, Unit

Sentences = Annotated[int, Ge(1), Unit("sentences")]
Subsets = Annotated[tuple[str, ...], MinLen(1), Unique()]


@dataclass(frozen=True, kw_only=True)
class Corpus(Section):
    """What every kind of corpus has."""

    shared_speakers: bool = False
    """Allow a speaker in more than one split; CMVN is then per speaker and split."""
    unknown_word: str | None = None
    """Word of the lexicon that stands for words it lacks; null: such words are an error."""
    shards: Annotated[int, Ge(1), Le(10000)] = 4
    """Parts into which each split falls for work in parallel."""


@dataclass(frozen=True, kw_only=True)
class SpokenSize(Section):
    """Language and size of the spoken corpus."""

    language: Literal["english", "mandarin"] = "english"
    """What the voices speak."""
    train_sentences: Sentences = 700
    """Sentences spoken for training."""
    dev_sentences: Sentences = 100
    """Sentences spoken for tuning."""
    test_sentences: Sentences = 150
    """Sentences spoken for the test."""
    lm_sentences: Annotated[int, Ge(0), Unit("sentences")] = 1000
    """Further sentences that stand only in the text of the language model."""
    train_voices: Annotated[int, Ge(1), Le(14), Unit("voices")] = 12
    """Voices that speak the training sentences."""
    dev_voices: Annotated[int, Ge(1), Le(4), Unit("voices")] = 3
    """Other voices that speak dev."""
    test_voices: Annotated[int, Ge(1), Le(8), Unit("voices")] = 6
    """Other voices again that speak the test."""
    sampling_rate: Annotated[Literal[8000, 16000], Unit("Hz")] = 16000
    """Sampling rate of the audio."""


@dataclass(frozen=True, kw_only=True)
class Spoken(Corpus):
    """Sentences of a small grammar, spoken by espeak-ng."""

    kind: Literal["spoken"]
    """Sentences of a small grammar, spoken by espeak-ng."""
    spoken: SpokenSize = SpokenSize()
    """Language and size of the spoken corpus."""
    seed: Annotated[int, Ge(0)] = 1
    """Seed of the generated corpus."""


@dataclass(frozen=True, kw_only=True)
class Recorded(Corpus):
    """What every corpus of recordings has."""

    dir: str = ""
    """Folder of the corpus below corpora_dir."""
    lexicon: str = "lexicon.txt"
    """Lexicon below dir: a word and its phones on each line."""
    lm_text: str | None = None
    """Text of the language model below dir, a sentence a line; null: the training transcripts."""
    phones: str | None = None
    """List of the phones below dir, one a line; null: whatever the lexicon uses."""


@dataclass(frozen=True, kw_only=True)
class Table(Recorded):
    """An utterance table with a column `split`."""

    kind: Literal["table"]
    """An utterance table with a column `split`."""
    table: str = "utterances.tsv"
    """Utterance table below dir: utterance_id, speaker_id, path, transcript, split and, if known, speaker_class; further columns are ignored."""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class Strings(Table):
    """Connected words joined from recordings."""

    kind: Literal["strings"]  # type: ignore[assignment]
    """Connected words joined from recordings."""
    strings: str = "strings.tsv"
    """Table of strings below dir: which recordings are joined, and the gaps between them."""


@dataclass(frozen=True, kw_only=True)
class KaldiSplits(Section):
    """Kaldi data directories (wav.scp, text, utt2spk, perhaps segments and spk2gender)."""

    train: str = "train"
    """Data directory for training, below dir."""
    dev: str = "dev"
    """Data directory for tuning, below dir."""
    test: str = "test"
    """Data directory of the test, below dir."""


@dataclass(frozen=True, kw_only=True)
class Kaldi(Recorded):
    """Kaldi data directories."""

    kind: Literal["kaldi"]
    """Kaldi data directories."""
    kaldi: KaldiSplits = KaldiSplits()
    """Kaldi data directories (wav.scp, text, utt2spk, perhaps segments and spk2gender)."""


@dataclass(frozen=True, kw_only=True)
class LibrispeechSplits(Section):
    """Subsets of a corpus in the layout of LibriSpeech."""

    train: Subsets = ("train-clean-100",)
    """Folders below dir for training."""
    dev: Subsets = ("dev-clean",)
    """Folders below dir for tuning."""
    test: Subsets = ("test-clean",)
    """Folders below dir for the test."""


@dataclass(frozen=True, kw_only=True)
class Librispeech(Recorded):
    """The directory layout of LibriSpeech."""

    kind: Literal["librispeech"]
    """The directory layout of LibriSpeech."""
    librispeech: LibrispeechSplits = LibrispeechSplits()
    """Subsets of a corpus in the layout of LibriSpeech."""


CorpusOptions = Annotated[Spoken | Table | Strings | Kaldi | Librispeech, Kinds("spoken")]
