"""The sections `parallel` and `resources`: how the workers train one model, and what the machine gives."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unisono.config.markers import Execution, Kinds, Pattern, Section, Shapes, Unit

# As `needs.gpus` takes it apart.
GPU = Pattern(r"|gpu=[1-9]\d*|gres=[A-Za-z0-9_]+(:[A-Za-z0-9_.]+)?(:\d+)?")
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


@dataclass(frozen=True, kw_only=True)
class Addition(Section):
    """A server adds what each worker has learned since it fetched the model, as it comes; nobody waits."""

    kind: Literal["async"]
    """A server adds what each worker has learned since it fetched the model, as it comes; nobody waits."""
    factor: Annotated[float, Gt(0)] = 1.0
    """What a worker's progress counts for; kaldi-aslp takes 0.5."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Part of the server's last step that is added once more; in all a push counts for factor/(1 - momentum)."""


@dataclass(frozen=True, kw_only=True)
class Elastic(Section):
    """Server and worker draw each other nearer, as each worker comes; it goes on from its own model."""

    kind: Literal["elastic"]
    """Server and worker draw each other nearer, as each worker comes; it goes on from its own model."""
    factor: Annotated[float, Gt(0), Le(1)] = 0.5
    """How much of the way each of them goes to where the other was."""


SERVED = ("async", "elastic")
CombineOptions = Annotated[Mean | Bmuf | Gossip | Addition | Elastic, Kinds("mean")]


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Section):
    """Workers take turns: whoever fetched the model first pushes first."""

    kind: Literal["round_robin"]
    """Workers take turns: whoever fetched the model first pushes first."""


@dataclass(frozen=True, kw_only=True)
class Simulated(Section):
    """A seeded simulation of workers that need different times."""

    kind: Literal["simulated"]
    """A seeded simulation of workers that need different times."""
    speeds: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """Relative speed of each worker; null: all alike."""
    jitter: Annotated[float, Ge(0)] = 0.1
    """Standard deviation of the logarithm of a slice's time, drawn for each slice; 0: none."""


@dataclass(frozen=True, kw_only=True)
class Logged(Section):
    """The order that an earlier run of these settings has written down."""

    kind: Literal["log"]
    """The order that an earlier run of these settings has written down."""
    path: str | None = None
    """Its iterations/arrivals.jsonl, from the working directory."""


@dataclass(frozen=True, kw_only=True)
class Live(Section):
    """As the ranks of engine async happen to come; what engine async takes of itself."""

    kind: Literal["live"]
    """As the ranks of engine async happen to come; what engine async takes of itself."""


ArrivalOptions = Annotated[RoundRobin | Simulated | Logged | Live, Kinds("round_robin")]
Engine = Literal["jobs", "virtual", "sync", "async"]
BLOCK_ENGINES = tuple(name for name in get_args(Engine) if name != "jobs")  # a block of iterations is one job


@dataclass(frozen=True, kw_only=True)
class ParallelOptions(Section):
    """How the workers train one model."""

    engine: Annotated[Engine, Execution()] = "jobs"
    """How vectors travel: files between Snakemake jobs, one process, MPI, or MPI with a server for which nobody waits. The result is the same; that of async once its order of arrivals is."""  # noqa: E501
    workers: Annotated[Workers | Ramp, Shapes()] = 2
    """Workers at once, or {initial, final} for a number that grows."""
    combine: CombineOptions = Mean(kind="mean")
    """What becomes of the workers' models after each iteration."""
    period_frames: Annotated[int, Ge(1), Unit("frames")] = 20000
    """Frames that each worker should read between two combinations."""
    dealing: Literal["rotating", "fixed"] = "rotating"
    """rotating: slices of a common order go round; fixed: each worker keeps its own utterances."""
    carry_state: Literal["reset", "epoch", "carry", "average"] = "carry"
    """The optimiser's state at a combination. reset: starts afresh; epoch: each worker keeps its own until the epoch ends; carry: to the end of the run; average: momentum becomes the workers' mean, the rest stays a worker's own."""  # noqa: E501
    first_iteration: Literal["auto", "best", "combine"] = "auto"
    """After iteration 0 continue from the best worker, or combine as in any other; auto: best, with a server combine."""  # noqa: E501
    scale_rate_with_workers: Annotated[bool | Literal["auto"], Shapes()] = "auto"
    """Multiply the rate by the number of workers; auto: yes for mean and gossip, no for bmuf and servers."""
    arrival: ArrivalOptions = RoundRobin(kind="round_robin")
    """In which order workers come to the server (combine async and elastic)."""
    barrier_pushes: Annotated[int, Ge(1), Unit("pushes")] | None = None
    """After so many pushes the server waits for all workers; null: only at the ends of epochs. kaldi-aslp takes 1000."""  # noqa: E501
    max_staleness: Annotated[int, Ge(0), Unit("pushes")] | None = None
    """Pushes of others that may at most come between a worker's fetch and its push: who is too fast waits; null: any."""  # noqa: E501
    reject_below: Annotated[float, Gt(0), Unit("nats")] = 1.0
    """A worker whose objective is so far below the best is left out; with a server, below the best of the last pushes, one for each worker."""  # noqa: E501
    max_backoffs: Annotated[int, Ge(0)] = 3
    """Periods in a row in which all workers may be rejected before training stops; each halves the rate for the rest of the run."""  # noqa: E501
    iterations_per_job: Annotated[int, Ge(1), Unit("iterations"), Execution()] = 50
    """Iterations of one Snakemake job of the engines virtual, sync and async."""

    @property
    def served(self) -> bool:
        """Whether workers come to a server, one by one, instead of waiting for each other."""
        return self.combine.kind in SERVED

    @property
    def keeps_best_worker(self) -> bool:
        """Whether training goes on from the best worker after iteration 0."""
        return self.first_iteration == "best" or (self.first_iteration == "auto" and not self.served)

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
    """Where networks are trained and used. auto: on a GPU where one is visible; cuda: training on a GPU or not at all; cpu hides GPUs from every command."""  # noqa: E501
    hang_timeout_s: Annotated[float, Gt(0), Unit("s")] = 300.0
    """Silence after which a rank of sync or async counts as hung."""
    checkpoint_s: Annotated[float, Ge(0), Unit("s")] = 300.0
    """Time between two checkpoints of virtual, sync and async; 0: after each iteration."""
    train_gpu: Annotated[str, GPU] = ""
    """GPU that each job of training asks a cluster for, each rank of sync: `gpu=1` (sbatch --gpus) or `gres=gpu:1` (--gres), as the site wants it."""  # noqa: E501
    decode_gpu: Annotated[str, GPU] = ""
    """The same for the jobs that tune, decode and align with networks."""  # noqa: E501
    warm_interpreter: bool = True
    """Local jobs run in copies of one Python that has imported torch; false starts one for each."""
