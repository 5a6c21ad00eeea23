"""The sections `parallel` and `resources`: how the workers train one model, and what the machine gives."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from unisono.config.markers import Execution, Kinds, Section, Shapes, Unit

Workers = Annotated[int, Ge(1), Le(100_000), Unit("workers")]


@dataclass(frozen=True, kw_only=True)
class Ramp(Section):
    """A number of workers that grows."""

    initial: Workers
    """Workers of the first iteration."""
    final: Workers
    """Workers of the last iteration."""


@dataclass(frozen=True, kw_only=True)
class Mean(Section):
    """Average."""

    kind: Literal["mean"]
    """Average."""
    weights: Literal["frames", "equal"] = "frames"
    """Weight of a worker in the average."""


@dataclass(frozen=True, kw_only=True)
class Bmuf(Section):
    """Average with block momentum, in its classical form or Nesterov's."""

    kind: Literal["bmuf", "bmuf_nesterov"]
    """Average with block momentum, in its classical form or Nesterov's."""
    weights: Literal["frames", "equal"] = "frames"
    """Weight of a worker in the average."""
    block_momentum: Annotated[Annotated[float, Ge(0), Lt(1)] | Literal["auto"], Shapes()] = "auto"
    """Block momentum; auto: 1 - 1/workers."""
    block_learning_rate: Annotated[float, Gt(0)] = 1.0
    """Scale of the average step of a block."""


@dataclass(frozen=True, kw_only=True)
class Gossip(Section):
    """Pairs of workers meet half-way."""

    kind: Literal["butterfly", "ring", "hopping_ring"]
    """Pairs of workers meet half-way."""


CombineOptions = Annotated[Mean | Bmuf | Gossip, Kinds("mean")]


@dataclass(frozen=True, kw_only=True)
class ParallelOptions(Section):
    """How the workers train one model."""

    engine: Annotated[Literal["jobs", "virtual", "sync"], Execution()] = "jobs"
    """How vectors travel: files between Snakemake jobs, one process, or MPI. The result is the same."""
    workers: Annotated[Workers | Ramp, Shapes()] = 2
    """Workers at once, or {initial, final} for a number that grows."""
    combine: CombineOptions = Mean(kind="mean")
    """What becomes of the workers' models after each iteration."""
    period_frames: Annotated[int, Ge(1), Unit("frames")] = 20000
    """Frames that each worker should read between two combinations."""
    dealing: Literal["rotating", "fixed"] = "rotating"
    """rotating: slices of a common order go round; fixed: each worker keeps its own utterances."""
    carry_state: Literal["reset", "carry", "average"] = "carry"
    """The optimiser's state at a combination. reset: starts afresh; carry: each worker keeps its own; average: momentum becomes the workers' mean, the rest stays a worker's own."""  # noqa: E501
    first_iteration: Literal["best", "combine"] = "best"
    """After iteration 0 continue from the best worker, or combine as in any other."""
    scale_rate_with_workers: Annotated[bool | Literal["auto"], Shapes()] = "auto"
    """Multiply the rate by the number of workers; auto: yes for mean and gossip, no for bmuf."""
    reject_below: Annotated[float, Gt(0), Unit("nats")] = 1.0
    """A worker whose objective is so far below the best is left out."""
    max_backoffs: Annotated[int, Ge(0)] = 3
    """Periods in a row in which all workers may be rejected before training stops; each halves the rate for the rest of the run."""  # noqa: E501
    iterations_per_job: Annotated[int, Ge(1), Unit("iterations"), Execution()] = 50
    """Iterations of one Snakemake job of the engines virtual and sync."""

    @property
    def shares(self) -> int:
        """Into how many shares `dealing: fixed` deals the utterances: one for each worker."""
        return self.workers if isinstance(self.workers, int) else self.workers.initial


@dataclass(frozen=True, kw_only=True)
class ResourceOptions(Section):
    """What the machine gives. No part of what a run is; but another number of threads or a GPU rounds otherwise."""

    threads_per_worker: Annotated[int, Ge(1), Unit("threads")] = 1
    """Threads of the numeric libraries in each worker."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training computes. auto: on a GPU where one is visible; cuda: on a GPU or not at all; cpu hides GPUs from every command."""  # noqa: E501
    hang_timeout_s: Annotated[float, Gt(0), Unit("s")] = 300.0
    """Silence after which a rank of sync counts as hung."""
    checkpoint_s: Annotated[float, Ge(0), Unit("s")] = 300.0
    """Time between two checkpoints of virtual and sync; 0: after each iteration."""
    warm_interpreter: bool = True
    """Local jobs run in copies of one Python that has imported torch; false starts one for each."""
