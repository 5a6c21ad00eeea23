"""Training of Gaussian HMMs by Viterbi: flat-start monophones, then triphones with a tree.

The schedule is that of Kaldi's steps/train_mono.sh and steps/train_deltas.sh, scaled to the number of iterations:
mixtures grow during the first 30/40 (mono) or 25/35 (tri) of them, and the data are realigned in most of the
monophone and in three of the triphone iterations.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisono.config.hmm import HmmOptions
from unisono.errors import UserError
from unisono.hmm import gmm
from unisono.hmm.align import Shard
from unisono.hmm.lexicon import Lang
from unisono.hmm.libs import khg
from unisono.hmm.model import HmmModel, context_dependency, hmm_topology, transition_model
from unisono.hmm.passes import Alignments, Corpus, prepare
from unisono.hmm.tree import leaves, monophone_tree, to_kaldi
from unisono.hmm.tree_building import VARIANCE_FLOOR, build, merge
from unisono.hmm.triphones import convert_ids, shard_stats, transition_table
from unisono.processes import map_shards

FIRST_MIN_OCCUPANCY = 3.0  # frames for a Gaussian after the flat start, as in train_mono.sh

Progress = Callable[[dict[str, Any]], None]
# Iteration, model and alignments by shard -> the model to go on with.
Adapt = Callable[[int, HmmModel, Sequence[Alignments]], HmmModel]


class Trained(NamedTuple):
    """A model and what happened on the way to it."""

    model: HmmModel
    report: dict[str, Any]


class Plan(NamedTuple):
    """What differs between monophones and triphones."""

    iterations: int
    grow: int  # the last iteration in which mixtures grow
    gaussians: int
    realign: frozenset[int]
    min_occupancy: float  # in the first iteration
    power: float = gmm.SPLIT_POWER  # of a PDF's frames, to share Gaussians


def mono_plan(options: HmmOptions) -> Plan:
    """Realign in iterations 2 to 10, then in every second up to half, then in every third (of 40 as Kaldi does)."""
    count = options.mono.iterations
    realign = {i for i in range(1, count + 1) if 2 <= i <= 10 or (i <= 20 and i % 2 == 0) or i % 3 == 2}
    return Plan(count, count * 30 // 40, options.mono.gaussians, frozenset(realign), FIRST_MIN_OCCUPANCY)


def tri_plan(options: HmmOptions) -> Plan:
    """Realign three times, at 10, 20 and 30 of Kaldi's 35 iterations."""
    count = options.tri.iterations
    realign = frozenset(round(count * share / 35) for share in (10, 20, 30))
    return Plan(count, count * 25 // 35, options.tri.gaussians, realign, gmm.MIN_OCCUPANCY)


def phone_states(lang: Lang) -> dict[int, int]:
    """Return the number of states by phone id."""
    topology = hmm_topology(lang.topology)
    counts = topology.get_phone_to_num_pdf_classes()
    return {phone: counts[phone] for phone in topology.phones}


def flat_model(lang: Lang, shards: Sequence[Shard], feature_options: dict[str, Any]) -> HmmModel:
    """Return monophones that are all alike: mean and variance of all frames (floored as in a tree)."""
    sums = [_moments(shard.frames) for shard in shards]
    frames = sum(count for count, _, _ in sums)
    if frames == 0:
        raise UserError("there are no training frames (with finite features): check the recordings")
    total = np.sum([first for _, first, _ in sums], axis=0) / frames
    square = np.sum([second for _, _, second in sums], axis=0) / frames
    variance = np.maximum(square - total * total, VARIANCE_FLOOR)
    tree = monophone_tree(phone_states(lang), lang.variants)
    count = len(set(leaves(tree)))
    gmms = gmm.single_gaussians(np.tile(total, (count, 1)), np.tile(variance, (count, 1)))
    return _topology_model(to_kaldi(tree, 1, 0), lang.topology, gmms, feature_options)


def _moments(frames: NDArray[np.float32]) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    # One bad recording must not spoil the start of all: it is left out later, with its reason.
    x = frames[np.isfinite(frames).all(axis=1)]
    return len(x), x.sum(axis=0, dtype=np.float64), np.square(x, dtype=np.float64).sum(axis=0)


def train_mono(
    lang: Lang,
    shards: Sequence[Shard],
    options: HmmOptions,
    feature_options: dict[str, Any],
    processes: int,
    progress: Progress = lambda row: None,
) -> Trained:
    """Train monophones from a flat start, in `processes` processes. Raises UserError if nothing can be aligned."""
    model = flat_model(lang, shards, feature_options)
    corpus = Corpus(lang, shards, model, options, processes)
    return refine(corpus, model, corpus.flat(model), mono_plan(options), progress)


def train_tri(
    lang: Lang,
    shards: Sequence[Shard],
    mono: HmmModel,
    alignments: Sequence[NDArray[np.int32]],
    options: HmmOptions,
    processes: int,
    progress: Progress = lambda row: None,
) -> Trained:
    """Train triphones on a tree from the frames as `alignments` deal them.

    `alignments` are transition-ids of `mono`, [N] for each shard, 0 for the frames of utterances without one.
    """
    model, start = triphone_start(lang, shards, mono, alignments, options.tri.leaves, mono.feature_options, processes)
    return refine(Corpus(lang, shards, model, options, processes), model, start, tri_plan(options), progress)


def triphone_start(
    lang: Lang,
    shards: Sequence[Shard],
    source: HmmModel,
    alignments: Sequence[NDArray[np.int32]],
    max_leaves: int,
    feature_options: dict[str, Any],
    processes: int,
) -> tuple[HmmModel, list[Alignments]]:
    """Grow a tree on the frames as `alignments` by `source` deal them; return its single Gaussians and the same paths.

    The frames need not be those that `source` was trained on.
    """
    independent = frozenset(lang.silence_ids)
    old = transition_table(source.transition_model)
    parts = map_shards(lambda i: shard_stats(shards[i], old, alignments[i], independent), len(shards), processes)
    states = phone_states(lang)
    root, sums = build(merge(parts), states, lang.silence_ids, max_leaves, lang.variants, lang.positions)
    model = _topology_model(to_kaldi(root, 3, 1), lang.topology, initial_gmms(sums), feature_options)
    new = transition_table(model.transition_model)
    start = [
        Alignments(convert_ids(shard, old, new, ids, root, independent), {}, 0, 0.0)
        for shard, ids in zip(shards, alignments, strict=True)
    ]
    return model, start


def initial_gmms(sums: NDArray[np.float64]) -> gmm.Gmms:
    """Return one Gaussian for each PDF from the tree's statistics [P, 1 + 2 D]; that of all for one without frames."""
    dim = (sums.shape[1] - 1) // 2
    used = np.where(sums[:, :1] > 0.0, sums, sums.sum(axis=0))
    means = used[:, 1 : 1 + dim] / used[:, :1]
    return gmm.single_gaussians(means, np.maximum(used[:, 1 + dim :] / used[:, :1] - means * means, VARIANCE_FLOOR))


def refine(
    corpus: Corpus,
    model: HmmModel,
    start: list[Alignments],
    plan: Plan,
    progress: Progress,
    adapt: Adapt = lambda iteration, model, parts: model,
) -> Trained:
    """Train a model from its first alignments; `adapt` may exchange model and frames before an iteration."""
    generator = np.random.default_rng(np.random.SeedSequence(corpus.options.seed))
    parts, rows = start, []
    first = len(model.gmms.weights)
    step = max(plan.gaussians - first, 0) / max(plan.grow, 1)
    for iteration in range(1, plan.iterations + 1):
        model = adapt(iteration, model, parts)
        prepare(model)
        done = _pass(corpus, model, None if iteration in plan.realign else parts)
        parts = [part for part, _, _ in done]
        stats = gmm.add([part for _, part, _ in done])
        # Before any frame is lost to the update: fails with an example if nothing at all could be aligned.
        aligned = corpus.report(parts)
        rows.append(
            {
                "iteration": iteration,
                "gaussians": len(model.gmms.weights),
                "log_likelihood_per_frame": stats.log_likelihood / stats.frames,
                "aligned": aligned["aligned"],
                "failed": len(aligned["failed"]),
                "realigned": iteration in plan.realign,
            }
        )
        progress(rows[-1])
        total = first + round(step * min(iteration, plan.grow))
        low = plan.min_occupancy if iteration == 1 else gmm.MIN_OCCUPANCY
        counts = np.sum([part for _, _, part in done], axis=0)
        targets = gmm.split_targets(_occupancies(model, stats), total, plan.power)
        model = _updated(model, stats, counts, targets, low, generator)
    facts = {"pdfs": model.num_pdfs, "gaussians": len(model.gmms.weights), "failed": corpus.failures(parts)}
    return Trained(model, {"iterations": rows, **facts})


def _pass(
    corpus: Corpus, model: HmmModel, parts: Sequence[Alignments] | None
) -> list[tuple[Alignments, gmm.Stats, NDArray[np.float64]]]:
    """Return alignments (new ones where `parts` is None), statistics, and counts of transition-ids, by shard."""

    def task(index: int) -> tuple[Alignments, gmm.Stats, NDArray[np.float64]]:
        part = corpus.viterbi_shard(model, index) if parts is None else parts[index]
        stats = gmm.accumulate(model.gmms, corpus.shards[index].frames, model.id2pdf[part.ids])
        counts = np.bincount(part.ids, minlength=len(model.id2pdf)).astype(np.float64)
        counts[0] = 0.0
        return part, stats, counts

    return map_shards(task, len(corpus.shards), corpus.processes)


def _occupancies(model: HmmModel, stats: gmm.Stats) -> NDArray[np.float64]:
    return np.add.reduceat(stats.occupancy, model.gmms.offsets[:-1])


def _updated(
    model: HmmModel,
    stats: gmm.Stats,
    counts: NDArray[np.float64],
    targets: NDArray[np.int64],
    min_occupancy: float,
    generator: np.random.Generator,
) -> HmmModel:
    transitions = transition_model(model.tree, model.topology, model.transition_log_probs)
    transitions.mle_update(counts, khg.MleTransitionUpdateConfig())
    gmms = gmm.split(gmm.update(model.gmms, stats, min_occupancy), targets, generator)
    log_probs = np.array(transitions.log_probs, np.float32)
    return HmmModel(model.tree_bytes, model.topology, log_probs, gmms, model.feature_options)


def _topology_model(tree_bytes: bytes, topology: str, gmms: gmm.Gmms, feature_options: dict[str, Any]) -> HmmModel:
    transitions = transition_model(context_dependency(tree_bytes), topology)
    return HmmModel(tree_bytes, topology, np.array(transitions.log_probs, np.float32), gmms, feature_options)
