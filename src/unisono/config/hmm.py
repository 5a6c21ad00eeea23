"""The section `hmm`: the bootstrap, GMM-HMMs whose alignment the network learns."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.features import GmmFeatureOptions, GmmMfcc
from unisono.config.markers import NAME, Pattern, Section, Unit

Passes = Annotated[int, Ge(1), Le(200), Unit("passes")]
Gaussians = Annotated[int, Ge(1), Unit("Gaussians")]
States = Annotated[int, Ge(1), Le(20), Unit("states")]


@dataclass(frozen=True, kw_only=True)
class MonoOptions(Section):
    """Monophone training."""

    iterations: Passes = 20
    """Passes over the training set."""
    gaussians: Gaussians = 500
    """Total to which the mixtures grow."""


@dataclass(frozen=True, kw_only=True)
class TriOptions(Section):
    """Triphone training."""

    iterations: Passes = 20
    """Passes over the training set."""
    leaves: Annotated[int, Ge(1), Unit("leaves")] = 400
    """Most leaves of the decision tree, before similar ones are merged."""
    gaussians: Gaussians = 3000
    """Total to which the mixtures grow."""


@dataclass(frozen=True, kw_only=True)
class LdaMlltOptions(Section):
    """Triphones on spliced cepstra under LDA and MLLT (Kaldi's tri2b), trained where hmm.align or decode.systems asks for lda_mllt."""  # noqa: E501

    iterations: Passes = 35
    """Passes over the training set; MLLT is estimated before passes 2, 4, 6 and 12."""
    leaves: Annotated[int, Ge(1), Unit("leaves")] = 400
    """Largest number of leaves of its own decision tree."""
    gaussians: Gaussians = 3000
    """Total to which the mixtures grow."""
    dim: Annotated[int, Ge(1), Le(512), Unit("dimensions")] = 40
    """Dimensions that LDA keeps; fewer than there are triphone PDFs."""
    splice: Annotated[int, Ge(0), Le(20), Unit("frames")] = 3
    """Neighbours on either side that a frame is spliced with; deltas are not used."""


@dataclass(frozen=True, kw_only=True)
class AlignWith(Section):
    """Take the alignment of another, finished config's network, and the tree that it was trained on, in place of `align`; corpus, lexicon and features must be the same."""  # noqa: E501

    name: Annotated[str, NAME]
    """Name of that config; its results lie in results/<name>/."""
    run: Annotated[str, NAME] = "main"
    """The run whose final model aligns."""


@dataclass(frozen=True, kw_only=True)
class KaldiSystem(Section):
    """The system of Kaldi that `align: kaldi` takes; paths are read from the working directory."""

    dir: Annotated[str, MinLen(1)]
    """Folder with final.mdl and tree, such as exp/tri3."""
    lang: Annotated[str, MinLen(1)]
    """Language directory, such as data/lang."""
    alignments: Annotated[tuple[str, ...], MinLen(1)]
    """Archives, scripts (.scp) or patterns of the training set's alignments, such as exp/tri3_ali/ali.*.gz."""
    dev_alignments: tuple[str, ...] = ()
    """The same of dev; empty: see `dev`."""
    dev: Literal["gmm", "train"] | None = None
    """What training evaluates itself on where dev has no alignments; gmm: dev, aligned with the Gaussians of final.mdl on hmm.features; train: a seeded tenth of train (hmm.seed), which is not trained on; null: gmm if final.mdl has Gaussians of as many numbers as hmm.features gives, else train."""  # noqa: E501
    graph: str | None = None
    """Folder with HCLG.fst; null: dir, or the one folder graph* in it."""


@dataclass(frozen=True, kw_only=True)
class HmmOptions(Section):
    """The bootstrap: monophone and triphone GMM-HMMs whose alignment the network learns."""

    features: GmmFeatureOptions = GmmMfcc(kind="mfcc")
    """Features of the GMMs."""
    silence_phone: Annotated[str, Pattern(r"[^\s#<>]+")] = "SIL"
    """Name of the phone of silence and noise."""
    silence_states: States = 5
    """HMM states of silence."""
    phone_states: States = 3
    """HMM states of any other phone."""
    word_position: bool = False
    """Whether a phone's triphones may differ with its position in the word (first, inner, last, only phone), as in Kaldi."""  # noqa: E501
    silence_probability: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Probability of silence after a word and at the start."""
    mono: MonoOptions = MonoOptions()
    """Monophone training."""
    tri: TriOptions = TriOptions()
    """Triphone training."""
    lda_mllt: LdaMlltOptions = LdaMlltOptions()
    """Triphones on spliced cepstra under LDA and MLLT (Kaldi's tri2b), trained where hmm.align or decode.systems asks for lda_mllt."""  # noqa: E501
    align: Literal["mono", "tri", "lda_mllt", "kaldi"] = "tri"
    """Whose tree and alignment the network takes; kaldi: those of the system that `kaldi` names, and its graph."""
    kaldi: KaldiSystem | None = None
    """The system of Kaldi that `align: kaldi` takes."""
    align_with: AlignWith | None = None
    """Take the alignment of another, finished config's network, and the tree that it was trained on, in place of `align`; corpus, lexicon and features must be the same."""  # noqa: E501
    beam: Annotated[float, Gt(0), Unit("nats")] = 10.0
    """Beam of alignment."""
    retry_beam: Annotated[float, Gt(0), Unit("nats")] = 40.0
    """Beam of the second try for what the first does not align."""
    acoustic_scale: Annotated[float, Gt(0)] = 0.1
    """Scale of acoustic log-likelihoods in alignment."""
    seed: Annotated[int, Ge(0)] = 1
    """Seed of the flat start, of the splitting of Gaussians and of the tenth of train that stands for dev."""
