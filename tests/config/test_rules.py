"""Settings that make no sense together are refused by name; those that run against the custom are told."""

import pytest

from unisono.config.check import read_config
from unisono.errors import UserError

SERVED = {"combine": "async", "engine": "virtual"}
ASYNC = {"combine": "async", "engine": "async"}


def stacked(start=None, **network):
    """A config on a stack of RBMs."""
    sigmoid = {"nonlinearity": "sigmoid", **network}
    return {"initialisation": {"kind": "rbm", **(start or {})}, "network": sigmoid}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            {"parallel": {"period_frames": 255}},
            "parallel.period_frames: 255 is less than one optimiser.minibatch of 256",
        ),
        ({"parallel": {"workers": {"initial": 1, "final": 3}, "dealing": "fixed"}}, "parallel.dealing: fixed"),
        ({"parallel": {"workers": 6, "combine": "butterfly"}}, "parallel.combine: butterfly needs a power of two"),
        ({"parallel": {"workers": {"initial": 2, "final": 4}, "combine": "butterfly"}}, "parallel.combine: butterfly"),
        ({"parallel": {"workers": {"initial": 4, "final": 2}}}, "parallel.workers: from 4 to 2: must not shrink"),
        ({"parallel": {"carry_state": "average", "combine": "ring"}}, "parallel.carry_state: average needs a sum"),
        ({"schedule": {"epochs": None}}, "schedule: give either epochs or iterations"),
        ({"schedule": {"iterations": 3}}, "schedule: give either epochs or iterations"),
        ({"schedule": {"kind": "newbob", "epochs": None, "iterations": 3}}, "schedule.iterations: newbob decides"),
        ({"schedule": {"constant_epochs": 4}}, "schedule.constant_epochs: must be below"),
        ({"schedule": {"kind": "polynomial", "final_learning_rate": 1}}, "schedule.final_learning_rate: polynomial"),
        ({"final_model": "ema"}, "final_model: ema needs observers.ema"),
        ({"final_model": "mine", "observers": {"ema": {}}}, "final_model: mine needs observers.mine"),
        ({"observers": {"combined": "tail"}}, "observers.combined: last, best, combined are models of their own"),
        (
            {"observers": {"slow": {"kind": "ema", "decay": 0.9, "window": 0.1}}},
            "observers.slow.window: stands in place",
        ),
        (
            {"observers": {"tail": {}}, "schedule": "newbob"},
            "observers.tail.kind: tail counts from the end of the plan",
        ),
        ({"observers": {"slow": {"decay": 0.9}}}, "observers.slow.kind: null is not one of ema, polyak, tail"),
        ({"observers": {"slow": {"kind": "ema", "window": 1.1}}}, "observers.slow.window: 1.1 is out of range"),
        ({"observers": {"ema": {"decy": 0.9}}}, "observers.ema.decy: unknown key: did you mean decay?"),
        ({"observers": {"x": "emma"}}, 'observers.x.kind: "emma" is not one of ema, polyak, tail: did you mean ema?'),
        (
            {"initialisation": "layerwise", "network": {"hidden": [8, 8, 9]}},
            "network.hidden: [8, 8, 9]: initialisation",
        ),
        ({"initialisation": "layerwise", "schedule": "newbob"}, "initialisation.kind: layerwise: newbob may end a run"),
        (
            {"initialisation": {"kind": "layerwise", "period": 0}},
            "initialisation.period: 0 is out of range: at least 1",
        ),
        (
            {"initialisation": "layerwise", "parallel": {"engine": "virtual", "combine": "async"}},
            "initialisation.kind: layerwise: combine async never lets",
        ),
        ({"initialisation": {"bias_stddev": -1}}, "initialisation.bias_stddev: -1 is out of range: at least 0"),
        ({"initialisation": "model"}, "initialisation.path: missing"),
        ({"initialisation": "rbm"}, "initialisation.kind: rbm pretrains sigmoid layers, network has nonlinearity relu"),
        ({"initialisation": "rbm", "network": "pnorm"}, "initialisation.kind: rbm pretrains sigmoid layers, network"),
        (
            {"initialisation": "rbm", "network": "lstm"},
            "initialisation.kind: rbm pretrains sigmoid layers, network has",
        ),
        (stacked(transform="lda"), "network.transform: lda: a Gaussian RBM wants variance 1"),
        (stacked({"momentum": {"initial": 0.9, "final": 0.5}}), "initialisation.momentum: from 0.9 to 0.5: must not"),
        (stacked({"momentum": {"ramp_frames": 10}}), "initialisation.momentum.ramp_frames: 10 is less than a frame"),
        (stacked({"parallel": {"period_frames": 99}}), "initialisation.parallel.period_frames: 99 is less than one"),
        (stacked({"parallel": {"workers": 3, "combine": "butterfly"}}), "initialisation.parallel.combine: butterfly"),
        (
            stacked({"parallel": {"average": False, "workers": {"initial": 1, "final": 2}}}),
            "initialisation.parallel.workers: a number that grows needs average: true",
        ),
        (stacked({"parallel": {"first_iteration": "best"}}), "initialisation.parallel.first_iteration: unknown key"),
        (stacked({"parallel": {"reject_below": 1}}), "initialisation.parallel.reject_below: unknown key"),
        (stacked({"schedule": "newbob"}), "initialisation.schedule: unknown key"),
        (stacked({"observers": {"ema": {}}}), "initialisation.observers: unknown key"),
        (stacked({"final_model": "best"}), "initialisation.final_model: unknown key"),
        (
            {"initialisation": {"hidden_bias": {"mean": -2, "range": 4}, "bias_stddev": 0.5}},
            "initialisation.hidden_bias: bias_stddev is given, too: leave it out",
        ),
        ({"runs": {"rbm.x": {}}}, "runs.rbm.x: names that begin with rbm. are those of pretraining"),
        (
            {"initialisation": {"kind": "model", "path": "x"}, "network": {"transform": "normalise"}},
            "network.transform: a model to start from has its own folded in: set transform: none",
        ),
        ({"corpus": {"kind": "table"}}, "corpus.dir: missing: corpus.kind table"),
        ({"lm": {"kind": "arpa"}}, "lm.arpa: missing"),
        ({"hmm": {"beam": 40}}, "hmm.retry_beam: 40 is not above hmm.beam, 40"),
        ({"hmm": {"align": "lda_mllt", "lda_mllt": {"dim": 92}}}, "hmm.lda_mllt.dim: 92 is more than the 91"),
        ({"hmm": {"align_with": {"name": "x"}}}, "hmm.align_with.name: x: this config itself"),
        ({"report": {"classes": {"age": 16}}}, "report.classes: report.speakers is missing"),
        ({"speed_perturbation": [0.9, 1]}, "speed_perturbation: 1 is the training set itself"),
        ({"speed_perturbation": [0.999]}, "speed_perturbation: 0.999 is the training set itself"),
        ({"speed_perturbation": [0.905]}, "speed_perturbation: 0.905 has more than two decimals"),
        ({"features": {"kind": "mfcc", "num_ceps": 50}}, "features.num_ceps: 50 is more than num_mel_bins 40"),
        ({"runs": {"a": {"final_model": "polyak"}}}, "runs.a.final_model: polyak needs observers.polyak"),
        ({"parallel": {"combine": "async"}}, "parallel.engine: jobs waits for all workers: combine async needs"),
        ({"parallel": {"combine": "elastic", "engine": "sync"}}, "parallel.engine: sync waits for all workers"),
        ({"parallel": {"engine": "async"}}, "parallel.engine: async needs a server"),
        (SERVED | {"arrival": "live"}, "parallel.arrival: live does not go with engine virtual"),
        (ASYNC | {"arrival": "round_robin"}, "parallel.arrival: round_robin does not go with engine async"),
        (SERVED | {"workers": {"initial": 1, "final": 3}}, "parallel.workers: a ramp does not go with combine async"),
        (SERVED | {"dealing": "fixed"}, "parallel.dealing: fixed does not go with combine async"),
        (SERVED | {"carry_state": "average"}, "parallel.carry_state: average does not go with combine async"),
        (SERVED | {"first_iteration": "best"}, "parallel.first_iteration: best does not go with combine async"),
        (SERVED | {"workers": 4, "max_staleness": 2}, "parallel.max_staleness: 2 can never be met: 4 workers"),
        (SERVED | {"arrival": {"kind": "simulated", "speeds": [1.0]}}, "parallel.arrival.speeds: 1 speeds, but"),
        (SERVED | {"arrival": "log"}, "parallel.arrival.path: missing"),
        (
            {"parallel": {"arrival": "simulated"}},
            "parallel.arrival: goes with combine async and elastic, not with mean",
        ),
        ({"parallel": {"barrier_pushes": 3}}, "parallel.barrier_pushes: goes with combine async and elastic"),
        ({"parallel": {"max_staleness": 3}}, "parallel.max_staleness: goes with combine async and elastic"),
        ({"runs": {"a": {}}, "study": {"name": "x"}}, "runs and study: a config has one of them"),
    ],
)
def test_senseless_combinations_are_refused_by_name(config, line):
    if "engine" in config:
        config = {"parallel": config}
    with pytest.raises(UserError) as caught:
        read_config({"name": "x", **config})
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_sensible_run_passes():
    parallel = {"workers": {"initial": 1, "final": 4}, "engine": "jobs", "iterations_per_job": 5}
    assert read_config({"name": "x", "parallel": parallel}).notes == []
    ng = {"kind": "ng_online", "ng": {"minibatches_history": 1.5}}
    assert read_config({"name": "x", "optimiser": ng}).runs["main"].optimiser.ng.minibatches_history == 1.5


def test_the_order_of_arrivals_is_part_of_a_run_and_live_only_with_engine_async():
    by_engine = read_config({"name": "x", "parallel": ASYNC}).runs["main"].parallel
    by_turns = read_config({"name": "x", "parallel": SERVED}).runs["main"].parallel
    assert (by_engine.arrival.kind, by_turns.arrival.kind) == ("live", "round_robin")
    assert not by_engine.keeps_best_worker and read_config({"name": "x"}).runs["main"].parallel.keeps_best_worker
    assert read_config({"name": "x", "parallel": SERVED | {"max_staleness": 1}}).notes == []


def test_a_rate_that_is_scaled_against_the_custom_is_noted():
    notes = read_config({"name": "x", "parallel": {"scale_rate_with_workers": False}}).notes
    assert notes == ["parallel.scale_rate_with_workers: false contradicts the custom for mean (auto: true)"]
    assert read_config({"name": "x", "parallel": {"scale_rate_with_workers": True}}).notes == []
