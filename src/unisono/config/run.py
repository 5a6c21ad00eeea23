"""What one training run is: the sections that decide its result."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, Le

from unisono.config.markers import NAME, Section, Unit
from unisono.config.network import (
    DnnOptions,
    Growing,
    InitialisationOptions,
    LayerwiseStart,
    NetworkOptions,
    RandomStart,
)
from unisono.config.observers import ObserverOptions
from unisono.config.optimiser import OptimiserOptions, Sgd
from unisono.config.parallel import ParallelOptions
from unisono.config.schedule import Exponential, ScheduleOptions

Candidate = Annotated[str, NAME]
Precision = Literal["float32", "tf32", "bf16"]
Prior = Literal["alignment", "posteriors"]


@dataclass(frozen=True, kw_only=True)
class CombinedOptions(Section):
    """The best combination of the last models, found by L-BFGS."""

    models: Annotated[int, Ge(1), Le(20), Unit("models")] = 20
    """How many of the last models, none of the run's first half; each has a weight of its own in every layer."""
    frames: Annotated[int, Ge(1), Unit("frames")] = 10000
    """Fixed subset of the training data whose objective is maximised."""
    evaluations: Annotated[int, Ge(1)] = 20
    """Evaluations of objective and gradient; 1 gives the plain mean of the models."""


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
    observers: ObserverOptions = field(default_factory=dict)
    """Averages over time of the combined model, by name; never fed back. One without kind is of the kind that it is named after: {ema: {}, slow: {kind: ema, window: 0.2}}. Each costs a tuning on dev and a decoding of test more, as do last and best (a study decodes only what it names)."""  # noqa: E501
    combined: CombinedOptions | None = None
    """A further candidate: the best combination of the last models, found by L-BFGS at the end; null: none."""
    final_model: Candidate = "last"
    """Which of the run's models is the result: last, best, combined, or the name of an observer. best, kept with this choice and with newbob, is judged on the whole dev set at the ends of epochs and of the run."""  # noqa: E501
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
    def insertions(self) -> tuple[int, ...]:
        """The iterations before which a hidden layer is inserted; none but with a layer-wise start."""
        if not (isinstance(self.initialisation, LayerwiseStart) and isinstance(self.network, Growing)):
            return ()
        return tuple(1 + self.initialisation.period * count for count in range(len(self.network.hidden) - 1))

    def network_at(self, iteration: int) -> NetworkOptions:
        """Return the network that an iteration trains: without the hidden layers that are inserted after it."""
        later = sum(insertion > iteration for insertion in self.insertions)
        if not (later and isinstance(self.network, Growing)):
            return self.network
        return replace(self.network, hidden=self.network.hidden[:-later])

    @property
    def minibatch(self) -> int:
        """The training units of a minibatch."""
        return self.optimiser.minibatch or self.network.unit.minibatch

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
        """The models that the run ends with: last, best where it is kept, the observers' and the combined one."""
        best, combined = ["best"] if self.keeps_best else [], ["combined"] if self.combined else []
        return ["last", *best, *self.observers, *combined]
