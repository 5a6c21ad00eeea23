"""What one training run is: the sections that decide its result."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal, Protocol

from annotated_types import Ge, Gt, Lt

from unisono.config.markers import Section, Unit
from unisono.config.network import DnnOptions, InitialisationOptions, NetworkOptions, RandomStart
from unisono.config.optimiser import OptimiserOptions, Sgd
from unisono.config.parallel import ParallelOptions
from unisono.config.schedule import Exponential, ScheduleOptions

Start = Annotated[float, Ge(0), Lt(1), Unit("fraction of the run")]
Candidate = Literal["last", "best", "ema", "polyak"]
Precision = Literal["float32", "tf32", "bf16"]
Prior = Literal["alignment", "posteriors"]


class Observer(Protocol):
    """An average over the models of training that is kept aside."""

    @property
    def start(self) -> float:
        """The fraction of the run before it moves."""
        ...

    def weight(self, count: int) -> float:
        """Return the weight of the `count`-th model that it takes in (from 1); the observer itself keeps the rest."""
        ...


@dataclass(frozen=True, kw_only=True)
class EmaOptions(Section):
    """Exponential moving average."""

    decay: Annotated[float, Gt(0), Lt(1)] = 0.9
    """Weight of the past at each combination."""
    start: Start = 0.25
    """Where it begins; before it equals the model."""

    def weight(self, count: int) -> float:
        """Return 1 - decay: a memory of 1/(1 - decay) combinations."""
        return 1.0 - self.decay


@dataclass(frozen=True, kw_only=True)
class PolyakOptions(Section):
    """Mean of all combined models."""

    start: Start = 0.25
    """Where it begins."""

    def weight(self, count: int) -> float:
        """Return 1/count: the mean of all (docs/mathematics.md 6.4)."""
        return 1.0 / count


@dataclass(frozen=True, kw_only=True)
class ObserverOptions(Section):
    """Averages over time of the combined model; never fed back. Each costs a tuning on dev and a decoding of test more, as do last and best (a study decodes only what it names)."""  # noqa: E501

    ema: EmaOptions | None = None
    """Exponential moving average."""
    polyak: PolyakOptions | None = None
    """Mean of all combined models."""

    def on(self) -> "dict[str, Observer]":
        """Return the observers that are turned on, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: options for name, options in found.items() if options is not None}


@dataclass(frozen=True, kw_only=True)
class DiagnosticsOptions(Section):
    """Objective and accuracy after each iteration."""

    frames: Annotated[int, Ge(0), Unit("frames")] = 10000
    """Fixed subset of train and of dev; 0 evaluates at the ends of epochs only."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(Section):
    """The store of training frames."""

    shuffle_window: Annotated[int, Ge(1), Unit("frames")] = 131072
    """Window of an epoch's order within which frames are shuffled."""
    dtype: Literal["float16", "float32"] = "float16"
    """Precision of the stored features."""


@dataclass(frozen=True, kw_only=True)
class Run(Section):
    """A training run: all that decides its result, and how it is carried out."""

    network: NetworkOptions = DnnOptions(kind="dnn")
    """The acoustic model that the workers train."""
    initialisation: InitialisationOptions = RandomStart(kind="random")
    """Where training starts."""
    optimiser: OptimiserOptions = Sgd(kind="sgd")
    """What a worker does with a minibatch."""
    schedule: ScheduleOptions = Exponential(kind="exponential")
    """How long training takes and how the rate moves."""
    parallel: ParallelOptions = ParallelOptions()
    """How the workers train one model."""
    observers: ObserverOptions = ObserverOptions()
    """Averages over time of the combined model; never fed back. Each costs a tuning on dev and a decoding of test more, as do last and best (a study decodes only what it names)."""  # noqa: E501
    final_model: Candidate = "last"
    """Which of the run's models is the result: the last, the best, or an observer's. best, kept with this choice and with newbob, is judged on the whole dev set at the ends of epochs and of the run."""  # noqa: E501
    prior: Prior = "alignment"
    """What decoding divides the network's posteriors by: the frequencies of the pdfs in the training alignment, or the network's mean posteriors on 200,000 frames of training data, as Kaldi's nnet3 does at the end (it adjusts the priors)."""  # noqa: E501
    precision: Precision = "float32"
    """What enters the matrix products of training; weights, momentum and statistics stay float32. tf32 rounds on a GPU only; bf16 everywhere, fast on a GPU and on a CPU with AMX."""  # noqa: E501
    seed: Annotated[int, Ge(0)] = 1
    """Seed of training."""
    diagnostics: DiagnosticsOptions = DiagnosticsOptions()
    """Objective and accuracy after each iteration."""
    data: DataOptions = DataOptions()
    """The store of training frames."""

    @property
    def minibatch(self) -> int:
        """The training units of a minibatch."""
        return self.optimiser.minibatch

    @property
    def recognises(self) -> bool:
        """Whether the run makes a recogniser, which is decoded and has a prior."""
        return True

    @property
    def reject_below(self) -> float:
        """By how much a worker's objective may be below the best."""
        return self.parallel.reject_below

    @property
    def keeps_best(self) -> bool:
        """Whether the best model so far (dev objective at the ends of epochs) is kept."""
        return self.final_model == "best" or self.schedule.kind == "newbob"

    @property
    def looks_apart(self) -> bool:
        """Whether under `jobs` a job of its own evaluates each model: where training need not wait for the answer."""
        return self.diagnostics.frames > 0 and not self.keeps_best

    @property
    def candidates(self) -> list[str]:
        """The models that the run ends with: the last, the best where it is kept, and the observers'."""
        return ["last", *(["best"] if self.keeps_best else []), *self.observers.on()]
