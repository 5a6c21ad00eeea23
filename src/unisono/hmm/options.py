"""The `hmm` section of the config. Defaults, units and ranges stand in the schema."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MonoOptions:
    """Monophone training: passes over the data and the total number of Gaussians to grow to."""

    iterations: int
    gaussians: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TriOptions:
    """Triphone training: passes, leaves of the tree before similar ones are merged, total number of Gaussians."""

    iterations: int
    leaves: int
    gaussians: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LdaMlltOptions:
    """LDA+MLLT training: as triphones, on `dim` dimensions made from each frame and `splice` on either side."""

    iterations: int
    leaves: int
    gaussians: int
    dim: int
    splice: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AlignWithOptions:
    """The config and the run of it whose network aligns."""

    name: str
    run: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HmmOptions:
    """The section as a whole; `features` belongs to the feature stage and is not read here."""

    features: dict[str, Any]
    silence_phone: str
    silence_states: int
    phone_states: int
    silence_probability: float
    mono: MonoOptions
    tri: TriOptions
    align: Literal["mono", "tri", "lda_mllt"]
    beam: float
    retry_beam: float
    acoustic_scale: float
    seed: int
    word_position: bool = False  # told only where it is on
    lda_mllt: LdaMlltOptions | None = None  # only its own stage is told
    align_with: AlignWithOptions | None = None  # no command is told: the rules know
