"""What must hold between keys: settings that make no sense together are refused by name before work starts."""

from typing import Any

from unisono.config.config import Shared
from unisono.config.features import Mfcc
from unisono.config.network import Growing, LstmOptions, NetworkOptions
from unisono.config.observers import check_models
from unisono.config.parallel import Gossip, Logged, ParallelOptions, Ramp, Simulated
from unisono.config.run import Run
from unisono.config.schedule import Falling, Polynomial
from unisono.config.stack import check_start
from unisono.errors import UserError
from unisono.rates import scales_with_workers


def check_given(config: Any) -> None:
    """Refuse a config, as it is written, that names a corpus but not its kind: it would train on the demo's."""
    corpus = config.get("corpus")
    if isinstance(corpus, dict) and corpus.get("dir") and "kind" not in corpus:
        raise UserError(
            "corpus.kind: missing, and spoken, the default, does not use corpus.dir: say table, kaldi, librispeech or"
            " strings"
        )


def check_run(run: Run) -> None:
    """Refuse a run that makes no sense: UserError, one line, naming the key and the remedy."""
    _check_schedule(run)
    _check_workers(run.parallel)
    _check_combine(run.parallel)
    _check_server(run.parallel)
    _check_network(run.network)
    unit = run.network.unit
    if run.parallel.period_frames < run.minibatch * unit.width:
        raise UserError(
            f"parallel.period_frames: {run.parallel.period_frames} is less than one optimiser.minibatch of"
            f" {run.minibatch} {unit.name}: raise the one or lower the other"
        )
    check_models(run)
    check_start(run)
    if run.initialisation.kind == "layerwise":
        _check_growth(run)


def check_engine(parallel: ParallelOptions) -> None:
    """Refuse an engine that does not go with the combine rule, or with the order of arrivals: UserError, one line."""
    kind, engine, order = parallel.combine.kind, parallel.engine, parallel.arrival.kind
    if parallel.served and engine in ("jobs", "sync"):
        raise UserError(
            f"parallel.engine: {engine} waits for all workers: combine {kind} needs engine async or virtual"
        )
    if engine == "async" and not parallel.served:
        raise UserError(f"parallel.engine: async needs a server: take parallel.combine async or elastic, not {kind}")
    if (order == "live") != (engine == "async"):
        raise UserError(
            f"parallel.arrival: {order} does not go with engine {engine}: engine async, and it alone, has arrival live:"
            " leave the key out, or change the engine"
        )


def check_shared(shared: Shared) -> None:
    """Refuse settings before training that do not fit together: UserError with the keys concerned and the remedy."""
    corpus, hmm = shared.corpus, shared.hmm
    if corpus.kind != "spoken" and not corpus.dir:
        raise UserError(f"corpus.dir: missing: corpus.kind {corpus.kind} needs the corpus's folder below corpora_dir")
    if shared.lm.kind == "arpa" and not shared.lm.arpa:
        raise UserError("lm.arpa: missing: lm.kind arpa needs the path of an ARPA file below corpora_dir")
    for speed in shared.speed_perturbation:
        if round(speed, 2) == 1:
            raise UserError(
                f"speed_perturbation: {speed:g} is the training set itself, which is always heard: leave it out"
            )
        if round(speed, 2) != speed:
            raise UserError(f"speed_perturbation: {speed} has more than two decimals: round it to {speed:.2f}")
    if shared.report.classes and not shared.report.speakers:
        raise UserError("report.classes: report.speakers is missing: name the table that has these columns")
    if hmm.retry_beam <= hmm.beam:
        raise UserError(f"hmm.retry_beam: {hmm.retry_beam:g} is not above hmm.beam, {hmm.beam:g}: make it wider")
    spliced = hmm.features.base_dim * (2 * hmm.lda_mllt.splice + 1)
    if "lda_mllt" in (hmm.align, *shared.decode.systems) and hmm.lda_mllt.dim > spliced:
        raise UserError(
            f"hmm.lda_mllt.dim: {hmm.lda_mllt.dim} is more than the {spliced} of a spliced frame: lower it or raise"
            " splice"
        )
    if hmm.align_with and hmm.align_with.name == shared.name:
        raise UserError(f"hmm.align_with.name: {shared.name}: this config itself: name another, finished one")
    _check_kaldi(shared)
    for where, section in (("features", shared.features), ("hmm.features", hmm.features)):
        if isinstance(section, Mfcc) and section.num_ceps > section.num_mel_bins:
            raise UserError(f"{where}.num_ceps: {section.num_ceps} is more than num_mel_bins {section.num_mel_bins}")


def _check_kaldi(shared: Shared) -> None:
    hmm, corpus = shared.hmm, shared.corpus
    if (hmm.align == "kaldi") != (hmm.kaldi is not None):
        raise UserError("hmm.kaldi: goes with hmm.align: kaldi, and that needs it: give both or neither")
    if hmm.align == "kaldi" and hmm.align_with:
        raise UserError("hmm.align_with: hmm.align: kaldi takes another alignment: keep one")
    if hmm.align == "kaldi" and shared.speed_perturbation:
        raise UserError("speed_perturbation: the other speeds have no alignments of Kaldi: leave it out")
    given = [
        key
        for key, section in (("features", shared.features), ("hmm.features", hmm.features))
        if section.kind == "kaldi"
    ]
    if given and corpus.kind != "kaldi":
        raise UserError(f"{given[0]}.kind: kaldi reads feats.scp of data directories: set corpus.kind: kaldi")
    if given == ["hmm.features"]:
        raise UserError(
            "hmm.features.kind: kaldi goes with features.kind: kaldi: a corpus is of features or recordings"
        )
    if given and shared.speed_perturbation:
        raise UserError("speed_perturbation: features of Kaldi cannot be heard faster: leave it out")
    if hmm.kaldi and hmm.kaldi.dev and hmm.kaldi.dev_alignments:
        raise UserError("hmm.kaldi.dev: dev_alignments say it already: keep one")
    wants = shared.decode.systems or hmm.kaldi is None or hmm.kaldi.dev == "gmm"
    if given == ["features"] and wants:
        raise UserError(
            "hmm.features.kind: without recordings GMMs need features of kind kaldi, too: set it, or leave out"
            " decode.systems and take hmm.align: kaldi"
        )


def warnings(run: Run) -> list[str]:
    """Return one line for each setting that runs but contradicts the literature."""
    rule, scale = run.parallel.combine.kind, run.parallel.scale_rate_with_workers
    custom = scales_with_workers("auto", rule)
    if scale in ("auto", custom) or not run.recognises:  # a pretrained layer's rate is per mean gradient
        return []
    return [
        f"parallel.scale_rate_with_workers: {str(scale).lower()} contradicts the custom for {rule}"
        f" (auto: {str(custom).lower()})"
    ]


def _check_network(network: NetworkOptions) -> None:
    if isinstance(network, LstmOptions) and network.label_delay >= network.chunk:
        raise UserError(
            f"network.label_delay: {network.label_delay} is not below network.chunk, {network.chunk}: lower it, or take"
            " longer chunks"
        )


def _check_schedule(run: Run) -> None:
    schedule = run.schedule
    if (schedule.epochs is None) == (schedule.iterations is None):
        raise UserError("schedule: give either epochs or iterations, and null for the other")
    if schedule.kind == "newbob" and schedule.epochs is None:
        raise UserError(
            "schedule.iterations: newbob decides at the end of an epoch: give schedule.epochs, the most it may take"
        )
    if not isinstance(schedule, Falling):
        return
    if isinstance(schedule, Polynomial) and schedule.final_learning_rate > run.optimiser.learning_rate:
        raise UserError(
            "schedule.final_learning_rate: polynomial rates fall: it must not exceed optimiser.learning_rate"
        )
    if schedule.constant_epochs and schedule.constant_epochs >= (schedule.epochs or 0):
        raise UserError("schedule.constant_epochs: must be below schedule.epochs (and 0 with schedule.iterations)")


def _check_growth(run: Run) -> None:
    if not isinstance(run.network, Growing):
        raise UserError(
            f"initialisation.kind: layerwise inserts hidden layers, which network.kind: {run.network.kind} does not"
            " have: choose another kind of either"
        )
    hidden = list(run.network.hidden)
    if len(set(hidden)) > 1:
        raise UserError(
            f"network.hidden: {hidden}: initialisation.kind: layerwise keeps the output layer while hidden layers are"
            " inserted below it: make all widths equal"
        )
    if run.parallel.served:
        raise UserError(
            f"initialisation.kind: layerwise: combine {run.parallel.combine.kind} never lets the workers wait for a new"
            " layer: choose another parallel.combine, or initialisation.kind: random"
        )
    if run.schedule.kind == "newbob":
        raise UserError(
            "initialisation.kind: layerwise: newbob may end a run before the last layer is inserted: choose another"
            " schedule.kind, or initialisation.kind: random"
        )


def _check_workers(parallel: ParallelOptions) -> None:
    if not isinstance(parallel.workers, Ramp):
        return
    initial, final = parallel.workers.initial, parallel.workers.final
    if initial > final:
        raise UserError(f"parallel.workers: from {initial} to {final}: must not shrink")
    if initial != final and parallel.dealing == "fixed":
        raise UserError(
            "parallel.dealing: fixed gives each worker its part once and for all, so parallel.workers cannot grow from"
            f" {initial} to {final}: deal rotating or keep the number"
        )


def _check_combine(parallel: ParallelOptions) -> None:
    kind, workers = parallel.combine.kind, parallel.workers
    if kind == "butterfly" and isinstance(workers, Ramp) and workers.initial != workers.final:
        raise UserError(
            "parallel.combine: butterfly needs a fixed power of two of workers: keep parallel.workers constant"
        )
    final = workers.final if isinstance(workers, Ramp) else workers
    if kind == "butterfly" and final & (final - 1):
        raise UserError(f"parallel.combine: butterfly needs a power of two of workers, not {final}: change either")
    if isinstance(parallel.combine, Gossip) and parallel.carry_state == "average":
        raise UserError(
            f"parallel.carry_state: average needs a sum over all workers, {kind} forms none: carry or reset"
        )


def _check_server(parallel: ParallelOptions) -> None:
    """Refuse what does not go with a server, and what goes only with one."""
    kind, order = parallel.combine.kind, parallel.arrival
    if not parallel.served:
        for key, is_set in (
            ("arrival", order.kind not in ("round_robin", "live")),
            ("barrier_pushes", parallel.barrier_pushes is not None),
            ("max_staleness", parallel.max_staleness is not None),
        ):
            if is_set:
                raise UserError(f"parallel.{key}: goes with combine async and elastic, not with {kind}: leave it out")
        return
    for key, value, remedy in (
        ("dealing", "fixed", "a server deals slices to whoever asks: rotating"),
        ("carry_state", "average", "workers never stand together: carry or reset"),
        ("carry_state", "epoch", "workers of a server end an epoch one by one: carry or reset"),
        ("first_iteration", "best", "the server takes in every worker: auto or combine"),
    ):
        if getattr(parallel, key) == value:
            raise UserError(f"parallel.{key}: {value} does not go with combine {kind}: {remedy}")
    if isinstance(parallel.workers, Ramp):
        raise UserError(f"parallel.workers: a ramp does not go with combine {kind}: give one number")
    if parallel.max_staleness is not None and parallel.max_staleness < parallel.workers - 1:
        raise UserError(
            f"parallel.max_staleness: {parallel.max_staleness} can never be met: {parallel.workers} workers that begin"
            f" together are up to {parallel.workers - 1} pushes late: raise it, or lower parallel.workers"
        )
    if isinstance(order, Simulated) and order.speeds is not None and len(order.speeds) != parallel.workers:
        raise UserError(
            f"parallel.arrival.speeds: {len(order.speeds)} speeds, but parallel.workers is {parallel.workers}: give one"
            " for each"
        )
    if isinstance(order, Logged) and not order.path:
        raise UserError("parallel.arrival.path: missing: kind log needs the path of an arrivals.jsonl")
