"""The sections `lm`, `decode` and `report`: what is searched for, how, and what is shown of it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.markers import Kinds, Section, Shapes, Unique, Unit

Smoothing = Literal["witten_bell", "kneser_ney"]
Scales = Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]
System = Literal["mono", "tri", "lda_mllt"]


@dataclass(frozen=True, kw_only=True)
class Ngram(Section):
    """Estimated from the corpus's text."""

    kind: Literal["ngram"]
    """Estimated from the corpus's text."""
    order: Annotated[int, Ge(1), Le(6), Unit("words")] = 3
    """Longest n-gram."""
    smoothing: Smoothing = "kneser_ney"
    """Interpolated smoothing."""
    vocabulary: Literal["lexicon", "text"] = "lexicon"
    """Words that can be recognised: all of the lexicon, or those of them that the text holds."""


@dataclass(frozen=True, kw_only=True)
class GivenArpa(Section):
    """A given ARPA file."""

    kind: Literal["arpa"]
    """A given ARPA file."""
    arpa: str | None = None
    """ARPA file, relative to corpora_dir."""


@dataclass(frozen=True, kw_only=True)
class Loop(Section):
    """Every word equally likely."""

    kind: Literal["loop"]
    """Every word equally likely."""
    vocabulary: Literal["lexicon", "text"] = "lexicon"
    """Words that can be recognised: all of the lexicon, or those of them that the text holds."""
    end_probability: Annotated[float, Gt(0), Lt(1)] | None = None
    """Probability that a sentence ends after a word; null: as often as in the text."""


LmOptions = Annotated[Ngram | GivenArpa | Loop, Kinds("ngram")]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(Section):
    """Search for the best words; scale and penalty are chosen on dev."""

    beam: Annotated[float, Gt(0), Unit("nats")] = 13.0
    """Beam on the test set."""
    tuning_beam: Annotated[float, Gt(0), Unit("nats")] = 16.0
    """Beam on dev while scale and penalty are chosen."""
    max_active: Annotated[int, Ge(1), Unit("states")] = 7000
    """Most states kept after a frame."""
    min_active: Annotated[int, Ge(0), Unit("states")] = 200
    """States kept after a frame whatever the beam, where there are so many."""
    acoustic_scales: Scales = (0.05, 0.07, 0.09, 0.12, 0.16)
    """Acoustic scales tried for networks, increasing."""
    gmm_acoustic_scales: Scales = (0.033, 0.05, 0.067, 0.083, 0.1)
    """Acoustic scales tried for GMMs, increasing."""
    word_insertion_penalties: Annotated[tuple[float, ...], Unit("nats a word")] = (0.5, 1.0, 2.0, 4.0)
    """Penalties tried beside 0; positive ones give fewer words."""
    tune_utterances: Annotated[int, Ge(1), Unit("utterances")] | None = None
    """Seeded part of dev to tune on; null for all of it."""
    seed: Annotated[int, Ge(0)] = 1
    """Seed that draws this part."""
    systems: Annotated[tuple[System, ...], Unique()] = ("mono", "tri")
    """GMM systems that are decoded and scored beside the networks."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Section):
    """What the report shows beyond what every report shows."""

    speakers: str | None = None
    """Table below corpus.dir with a column speaker_id and others that can be named in `classes`."""
    classes: dict[str, Annotated[Literal["each"] | float, Shapes()]] = field(default_factory=dict)
    """Columns that part the speakers into classes, each with a word error rate of its own: `gender: each` by value, `age: 16` below 16 and from 16 on."""  # noqa: E501
