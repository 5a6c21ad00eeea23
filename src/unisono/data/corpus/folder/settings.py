"""A first config for so many hours of speech: sizes that fit, each a line that can be changed.

The sizes lie on curves through those of the ready-made configs (4 minutes, 25 minutes, 3 hours), drawn on beyond them.
"""

import json
from typing import Any, NamedTuple

FRAMES_PER_HOUR = 360_000


class Sizes(NamedTuple):
    """How large the models are and how long training goes on."""

    mono_gaussians: int
    leaves: int
    gaussians: int
    hidden: list[int]
    epochs: int
    minibatch: int
    engine: str
    workers: int
    period_frames: int


def sizes(hours: float) -> Sizes:
    """Return the sizes for so many hours of training speech."""
    gaussians = _clamp(3800 * hours, 300, 60_000)
    width, layers = (128, 2) if hours < 0.2 else (256, 3) if hours < 1 else (512, 4) if hours < 30 else (1024, 5)
    minibatch = 128 if hours < 0.2 else 256 if hours < 1 else 512
    workers = 2 if hours < 5 else 4
    return Sizes(
        mono_gaussians=_clamp(600 * hours**0.5, 150, 2000),
        leaves=_clamp(gaussians / 5, 80, 6000),
        gaussians=gaussians,
        hidden=[width] * layers,
        # Little speech is soon learnt by heart, but a network needs some 200 minibatches to learn at all. Dev objective
        # at the end of so many epochs: 18 s of digits, mean of four splits: -2.99 (8), -2.96 (12), -2.97 (16), -3.31
        # (40); English, 3.2 minutes: -3.07 (2), -3.08 (3), -3.29 (10); 6.1: -2.51 (2), -2.51 (3), -2.52 (5), -2.70
        # (15); 11.8: -2.77 (1), -2.77 (2), -2.78 (3), -2.87 (9), though there frame accuracy rose to the end, from 29.7
        # to 30.5 %.
        epochs=_clamp(200 * minibatch / (FRAMES_PER_HOUR * max(hours, 0.001)), 4 if hours >= 1 else 3, 16, step=1),
        minibatch=minibatch,
        # Starting a job takes seconds; with little speech one process is faster than many jobs, to the same bytes.
        engine="virtual" if hours < 1 else "jobs",
        workers=workers,
        # Four combinations in an epoch.
        period_frames=_clamp(FRAMES_PER_HOUR * hours / workers / 4, 5_000, 100_000, step=1000),
    )


def config_text(name: str, corpora_dir: str, corpus: dict[str, Any], hours: float, big_lexicon: bool) -> str:
    """Return the text of a config. corpus: what its section `corpus` says."""
    s = sizes(hours)
    vocabulary = "text" if big_lexicon else "lexicon"
    why = (
        "only words of the training text can be recognised; lexicon: all words"
        if big_lexicon
        else "all words of the lexicon can be recognised; text: only those of the training text"
    )
    return f"""\
# Made by `unisono corpus folder` for {60 * hours:.1f} minutes of training speech. All keys: config/README.md.
name: {_yaml(name)}                # results lie in results/{name}/
corpora_dir: {_yaml(corpora_dir)}
corpus: {_yaml(corpus)}

# The GMMs whose alignment the network learns from: more Gaussians and leaves for more speech.
hmm:
  mono: {{gaussians: {s.mono_gaussians}}}
  tri: {{leaves: {s.leaves}, gaussians: {s.gaussians}}}

lm: {{kind: ngram, order: 3, vocabulary: {vocabulary}}}   # {why}
decode: {{systems: [tri], tuning_beam: 13, max_active: 4000}}

network: {{kind: dnn, hidden: {s.hidden}, nonlinearity: relu, context: [7, 7], dropout: 0.2}}
optimiser: {{kind: ng_online, learning_rate: 0.0008, minibatch: {s.minibatch}}}
schedule: {{kind: exponential, final_learning_rate: 0.00008, epochs: {s.epochs}}}
parallel: {{engine: {s.engine}, workers: {s.workers}, combine: {{kind: mean}}, period_frames: {s.period_frames}}}

# For few hours: the network also hears the training set slower and faster, three times the work.
# speed_perturbation: [0.9, 1.1]
"""


def _clamp(value: float, low: int, high: int, step: int = 10) -> int:
    return min(high, max(low, round(value / step) * step))


def _yaml(value: Any) -> str:
    """Return a value in YAML's flow style; JSON is part of it."""
    return json.dumps(value, ensure_ascii=False)
