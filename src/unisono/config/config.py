"""The whole of a config: what comes before training, the training run, what comes after it, and the machine."""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from unisono.config.corpus import CorpusOptions, Spoken
from unisono.config.features import Fbank, FeatureOptions
from unisono.config.hmm import HmmOptions
from unisono.config.language import DecodeOptions, LmOptions, Ngram, ReportOptions
from unisono.config.logging import LoggingOptions
from unisono.config.markers import NAME, Section, Unique
from unisono.config.parallel import ResourceOptions
from unisono.config.run import Run
from unisono.config.study import Study


@dataclass(frozen=True, kw_only=True)
class Shared(Section):
    """What all runs of a config share."""

    name: Annotated[str, NAME]
    """Name of the experiment; its results lie in results/<name>/."""
    corpora_dir: str = "corpora"
    """Folder of the recordings, relative to the working directory."""
    corpus: CorpusOptions = Spoken(kind="spoken")
    """Recordings, transcripts, lexicon and text of the language model."""
    features: FeatureOptions = Fbank(kind="fbank")
    """Features of the network."""
    speed_perturbation: Annotated[tuple[Annotated[float, Ge(0.5), Le(2)], ...], Unique()] = ()
    """Speeds at which the network hears the training set beside its own, such as [0.9, 1.1]; tempo and pitch change together. GMMs do not hear them."""  # noqa: E501
    hmm: HmmOptions = HmmOptions()
    """The bootstrap: monophone and triphone GMM-HMMs whose alignment the network learns."""
    lm: LmOptions = Ngram(kind="ngram")
    """The language model of decoding."""
    decode: DecodeOptions = DecodeOptions()
    """Search for the best words; scale and penalty are chosen on dev."""
    report: ReportOptions = ReportOptions()
    """What the report shows beyond what every report shows."""
    logging: LoggingOptions = LoggingOptions()
    """Other programs that the course of training is written for."""
    resources: ResourceOptions = ResourceOptions()
    """What the machine gives. No part of what a run is; but another number of threads or a GPU rounds otherwise."""
    runs: dict[Annotated[str, NAME], dict[str, Any] | None] | None = None
    """Training experiments on the same data: name: {settings that differ}; without it there is one, `main`."""
    study: Study | None = None
    """A grid of runs in place of `runs`, for `snakemake study`; see docs/studies.md."""

    @property
    def learnt(self) -> list[str]:
        """The splits whose frames the network learns from."""
        return ["train", "perturbed"] if self.speed_perturbation else ["train"]

    @property
    def aligned(self) -> list[str]:
        """The systems whose alignments or training a report may show, in the order of work."""
        wanted = {"mono", "tri", self.aligner, *self.decode.systems}
        return [system for system in ("mono", "tri", "lda_mllt", "dnn", "kaldi") if system in wanted]

    @property
    def alignments(self) -> list[tuple[str, str]]:
        """The system and split of each alignment that is made in any case."""
        wanted = {self.aligner, *self.decode.systems}
        first = [("mono", "train")] if wanted & {"tri", "lda_mllt"} else []
        second = [("tri", "train")] if "lda_mllt" in wanted else []
        return list(dict.fromkeys([*first, *second, *((self.aligner, split) for split in [*self.learnt, "dev"])]))

    @property
    def aligner(self) -> str:
        """The system whose alignment the network learns: a GMM's name, or `dnn` for another config's network."""
        return "dnn" if self.hmm.align_with else self.hmm.align


@dataclass(frozen=True, kw_only=True)
class Config(Run, Shared):
    """A complete config. One with `runs` or `study` stands for several, each with its own fields of `Run`."""
