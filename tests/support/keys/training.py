"""The keys of a run: a miniature training with another value gives other models, or other numbers of its course."""

import hashlib
import itertools
import shutil
from pathlib import Path

from safetensors.torch import load

from tests.support.keys.row import Row
from tests.support.miniature import BASE, Task, make_store
from unisono.config.build import complete
from unisono.config.reads import run_told

UTTERANCES = 16
MINIATURE = BASE | {"parallel": {"period_frames": 100, "engine": "virtual"}}


def tensors(model):
    """Return a digest of the tensors of a model file, without its header."""
    return {
        name: hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes()).hexdigest()
        for name, tensor in load(Path(model).read_bytes()).items()
    }


class Store:
    """Frames to train on, made once."""

    def __init__(self, folder):
        self.folder, self.found, self._count = Path(folder), {}, itertools.count()
        make_store(self.folder / "train.h5", UTTERANCES, 1)
        make_store(self.folder / "dev.h5", 4, 2)

    def task(self, folder, settings):
        """Return a task on a copy of them."""
        folder.mkdir()
        for name in ("train.h5", "dev.h5"):
            shutil.copy(self.folder / name, folder)
        return Task(folder, settings)

    def trained(self, settings):
        """Return what `train` does, once for each run."""
        told = run_told(settings.runs["main"])
        if told not in self.found:
            folder = self.folder / str(next(self._count))
            self.found[told] = self.train(folder, complete(settings.runs["main"], execution=False))
        return self.found[told]

    def train(self, folder, settings):
        """Return the models that a run ends with, and the numbers of its course."""
        task = self.task(folder, settings)
        task.virtual()
        models = {path.stem: tensors(path) for path in (task.folder / "models").iterdir()}
        return tensors(task.folder / "final.safetensors"), models, task.metrics()


HIDDEN_BIAS = {"initialisation.hidden_bias": {"mean": 0, "range": 1}}
LSTM = {
    "network": {"kind": "lstm", "cells": [8, 6], "chunk": 6, "left_context": 5, "label_delay": 2, "backprop_margin": 2},
    "optimiser.minibatch": 8,
}
PNORM = {"network": {"kind": "pnorm", "hidden": [8, 6], "group": 2, "context": [2, 1]}}
GROWING = {"network.hidden": [8, 8, 8], "initialisation": {"kind": "layerwise", "period": 1}}
# Limits that some steps are within, and others not.
LIMIT = {"optimiser.max_change": {"kind": "nnet3", "per_layer": 0.1, "total": 0.12}}
NG = {"optimiser.kind": "ng_online"}
SERVED = {"parallel.combine": "async", "parallel.workers": 3}
SIMULATED = SERVED | {"parallel.arrival": {"kind": "simulated", "speeds": [1.0, 0.4, 2.0]}}
NEWBOB = {"schedule": {"kind": "newbob", "epochs": 6}, "optimiser.learning_rate": 0.02}
RAMP = {"parallel.workers": {"initial": 1, "final": 3}}

ROWS = [
    Row("network.kind", ["pnorm", "lstm"], {"optimiser.minibatch": 4}),
    Row("network.context", [[1, 1]]),
    Row("network.transform.kind", ["normalise", "lda"]),
    Row("network.transform.within_class_factor", [0.1], {"network.transform.kind": "lda"}),
    Row("network.transform.max_singular_value", [0.5], {"network.transform.kind": "lda"}),
    Row("network.prior_power", [-0.25]),
    Row("network.hidden", [[16, 12]]),
    Row("network.hidden", [[8, 6]], PNORM),
    Row("network.nonlinearity", ["sigmoid", "tanh", "relu_renorm"]),
    Row("network.dropout", [0.2]),
    Row("network.dropout", [0.2], PNORM),
    Row("network.dropout", [0.2], LSTM),
    Row("network.group", [2], PNORM),
    Row("network.cells", [[8]], LSTM),
    Row("network.projection", [[4, 2]], LSTM),
    Row("network.peepholes", [False], LSTM),
    Row("network.splice", [[1, 1]], LSTM),
    Row("network.chunk", [6], LSTM | {"optimiser.minibatch": 4}),
    Row("network.left_context", [5], LSTM),
    Row("network.label_delay", [2], LSTM | {"network.chunk": 8}),
    Row("network.backprop_margin", [2, None], LSTM | {"network.left_context": 12}),
    Row("network.clip", [0.01], LSTM),
    Row("network.zeroing", [0.001], LSTM | {"network.zeroing_interval": 3}),
    Row("network.zeroing_interval", [3], LSTM | {"network.zeroing": 0.001, "network.left_context": 12}),
    Row("network.decay_time", [10], LSTM),
    Row("network.forget_bias", [1.0], LSTM),
    Row("initialisation.kind", ["layerwise"], {"network.hidden": [8, 8, 8]}),
    Row("initialisation.hidden_gain", [0.3]),
    Row("initialisation.output_gain", [0.5]),
    Row("initialisation.hidden_bias.mean", [-1, 1], HIDDEN_BIAS, refused=True),
    Row("initialisation.hidden_bias.range", [0.5, 1], HIDDEN_BIAS, refused=True),
    Row("initialisation.bias_stddev", [0.5]),
    Row("initialisation.period", [1], GROWING),
    Row("optimiser.kind", ["ng_online", "ng_simple"]),
    Row("optimiser.learning_rate", [0.004]),
    Row("optimiser.momentum", [0.5]),
    Row("optimiser.l2", [0.01]),
    Row("optimiser.minibatch", [32], {"parallel.period_frames": 256}),
    Row("optimiser.max_change.kind", ["none", "nnet3_2017", "nnet2", "su_chen"],
        LIMIT | {"optimiser.max_change.per_sample": 0.005}),
    Row("optimiser.max_change.per_layer", [0.1], LIMIT),
    Row("optimiser.max_change.output", [0.05], LIMIT),
    Row("optimiser.max_change.total", [0.05], LIMIT),
    Row("optimiser.max_change.per_sample", [0.005], {"optimiser.max_change": "nnet2"}),
    Row("optimiser.ng.alpha", [1.0], NG),
    Row("optimiser.ng.alpha", [1.0], {"optimiser.kind": "ng_simple"}),
    Row("optimiser.ng.preset", ["nnet3_2017", "nnet2", "nnet2_2014", "effective_2015"], NG | {"optimiser.ng": {}}),
    Row("optimiser.ng.rank_in", [4], NG),
    Row("optimiser.ng.rank_out", [3], NG),
    Row("optimiser.ng.update_period", [2], NG),
    Row("optimiser.ng.history", [500.0], NG),
    Row("optimiser.ng.minibatches_history", [5.0], NG),
    Row("schedule.kind", ["fixed", "polynomial", "decaying", "newbob"], {"optimiser.learning_rate": 0.02}),
    Row("schedule.epochs", [2]),
    Row("schedule.iterations", [3, 4], {"schedule.epochs": None}, refused=True),
    Row("schedule.warm_up_frames", [500]),
    Row("schedule.final_learning_rate", [0.001]),
    Row("schedule.constant_epochs", [1]),
    Row("schedule.per", ["epoch"]),
    Row("schedule.learning_rates", [[0.001]], {"schedule.kind": "fixed"}),
    Row("schedule.power", [0.2], {"schedule.kind": "polynomial"}),
    Row("schedule.power", [0.2], {"schedule.kind": "decaying"}),
    Row("schedule.decay", [0.1], {"schedule.kind": "decaying"}),
    Row("schedule.newbob.start", [0.5], NEWBOB),
    Row("schedule.newbob.stop", [0.5], NEWBOB | {"schedule.newbob.start": 0.5}),
    Row("schedule.newbob.factor", [0.2], NEWBOB | {"schedule.newbob.start": 0.5}),
    Row("schedule.newbob.resume_anneal", [True], NEWBOB | {"schedule.newbob.start": 0.2}),
    Row("parallel.workers", [3]),
    Row("parallel.workers.initial", [1, 2], RAMP, refused=True),
    Row("parallel.workers.final", [2, 3], RAMP, refused=True),
    Row("parallel.combine.kind",
        ["bmuf", "bmuf_nesterov", "butterfly", "ring", "hopping_ring", "async", "elastic"],
        {"parallel.workers": 4}),
    Row("parallel.combine.weights", ["equal"]),
    Row("parallel.combine.weights", ["equal"], {"parallel.combine": "bmuf"}),
    Row("parallel.combine.block_momentum", [0.1], {"parallel.combine": "bmuf"}),
    Row("parallel.combine.block_learning_rate", [0.5], {"parallel.combine": "bmuf"}),
    Row("parallel.combine.factor", [0.5], SERVED),
    Row("parallel.combine.factor", [0.2], SERVED | {"parallel.combine": "elastic"}),
    Row("parallel.combine.momentum", [0.3], SERVED),
    Row("parallel.period_frames", [100]),
    Row("parallel.dealing", ["fixed"]),
    Row("parallel.carry_state", ["reset", "epoch", "average"]),
    Row("parallel.first_iteration", ["combine"]),
    Row("parallel.first_iteration", ["best"], SERVED, refused=True),
    Row("parallel.scale_rate_with_workers", [False]),
    Row("parallel.scale_rate_with_workers", [True], {"parallel.combine": "bmuf"}),
    Row("parallel.arrival.kind", ["simulated"], SERVED),
    Row("parallel.arrival.kind", ["log", "live"], SERVED, refused=True),
    Row("parallel.arrival.speeds", [[1.0, 0.4, 2.0]], SIMULATED),
    Row("parallel.arrival.jitter", [0.9], SIMULATED),
    Row("parallel.barrier_pushes", [2], SIMULATED),
    Row("parallel.max_staleness", [2], SIMULATED | {"parallel.arrival.speeds": [1.0, 0.1, 2.0]}),
    Row("parallel.reject_below", [0.001], {"optimiser.minibatch": 8}),
    Row("parallel.max_backoffs", [40], {"optimiser.learning_rate": 2e3, "schedule.kind": "fixed"}, refused=True),
    Row("observers.x.kind", ["ema", "polyak", "tail"], {"observers.x": {}}, refused=True),
    Row("observers.x.start", [0.5], {"observers.x": {"kind": "ema"}}),
    Row("observers.x.decay", [0.5], {"observers.x": {"kind": "ema"}}),
    Row("observers.x.window", [0.5], {"observers.x": {"kind": "ema"}}),
    Row("observers.x.combinations", [2], {"observers.x": {"kind": "tail"}}),
    Row("combined.models", [2], {"combined": {"frames": 100, "evaluations": 4}}),
    Row("combined.frames", [100], {"combined": {"models": 3, "evaluations": 4}}),
    Row("combined.evaluations", [1], {"combined": {"models": 3, "frames": 100}}),
    Row("final_model", ["best", "x"], {"observers.x": {"kind": "ema"}}),
    Row("prior", ["posteriors"]),
    Row("precision", ["bf16"]),
    Row("seed", [3]),
    Row("diagnostics.frames", [200]),
    Row("data.shuffle_window", [64]),
]  # fmt: skip
