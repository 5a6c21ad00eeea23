"""What each command is told: the keys that it reads, named here and nowhere else.

A rule hands them over as `params`, so a changed value runs exactly the commands that read its key. Only what is not at
its default travels: a key that a later version adds changes no command line.
"""

from dataclasses import fields
from typing import Any

from unisono.config.build import compact, identity
from unisono.config.config import Shared
from unisono.config.features import Fbank, FeatureOptions, KaldiFeatures, Mfcc
from unisono.config.run import Run

SEARCH = ("max_active", "min_active")
TUNING = ("tuning_beam", *SEARCH, "word_insertion_penalties", "tune_utterances", "seed")
ALIGNMENT = ("beam", "retry_beam", "acoustic_scale")
BASE_FEATURES = (
    "num_mel_bins", "num_ceps", "low_freq", "high_freq", "frame_length_ms", "frame_shift_ms", "use_energy", "dither",
    "numbers",
)  # fmt: skip
# Command -> the section that it reads and the keys of it; None: all.
READS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "corpus": ("corpus", None),
    "lang": (
        "hmm",
        ("silence_phone", "silence_states", "phone_states", "word_position", "silence_probability"),
    ),
    "train-mono": ("hmm", ("mono", "seed", *ALIGNMENT)),
    "train-tri": ("hmm", ("tri", "seed", *ALIGNMENT)),
    "train-lda-mllt": ("hmm", ("lda_mllt", "seed", *ALIGNMENT)),
    "align": ("hmm", ALIGNMENT),
    "align-dnn": ("hmm", ALIGNMENT),
    "lm": ("lm", None),
    "tune-gmm": ("decode", (*TUNING, "gmm_acoustic_scales")),
    "tune-dnn": ("decode", (*TUNING, "acoustic_scales")),
    "decode": ("decode", ("beam", *SEARCH)),
}
# Commands on features -> the keys that they read beside the kind; all others read the whole section.
FEATURES_READ = {"features": BASE_FEATURES, "cmvn": (*BASE_FEATURES, "cmvn")}
RECOGNISER = ("features", "hmm", "lm", "decode")


def told(command: str, shared: Shared) -> str:
    """Return what a command is told of its section, as JSON on one line."""
    section, keys = READS[command]
    return compact(identity(getattr(shared, section), keys))


def features_told(shared: Shared, frontend: str, command: str = "", system: str = "") -> str:
    """Return the features of a front end, `net` or `hmm`, as JSON of the section `features`.

    `lda_mllt` splices and so takes no deltas.
    """
    options = shared.features if frontend == "net" else plain_features(shared.hmm.features)
    if system == "lda_mllt":
        options = type(options)(**{**vars(options), "deltas": 0})
    return compact(identity(options, FEATURES_READ.get(command)))


def plain_features(options: Any) -> FeatureOptions:
    """Return features of GMMs as a section `features`, whose defaults are others."""
    section = next(kind for kind in (Mfcc, KaldiFeatures, Fbank) if isinstance(options, kind))
    return section(**{field.name: getattr(options, field.name) for field in fields(section)})


def recogniser_told(shared: Shared) -> str:
    """Return the settings that using a recogniser needs, or that say what it is, as JSON."""
    return compact(identity(shared, RECOGNISER))


def run_told(run: Run) -> str:
    """Return what decides a run's result, as JSON."""
    return compact(identity(run))
