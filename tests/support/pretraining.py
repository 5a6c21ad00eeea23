"""A stack of RBMs, layer by layer, each a task of its own as the rules train it."""

import numpy as np
import torch

from tests.support.miniature import Task, config
from unisono.config.build import complete
from unisono.config.stack import stack_of
from unisono.data.frames.order import Order
from unisono.engines import constants
from unisono.engines.initial import initial_parameters
from unisono.engines.run import make_run
from unisono.engines.seeds import generator_for

NETWORK = {"kind": "dnn", "hidden": [20, 14], "nonlinearity": "sigmoid", "context": [2, 1], "transform": "normalise"}
START = {"kind": "rbm", "minibatch": 20, "momentum": {"ramp_frames": 2000, "steps": 4}}


def settings(parallel=None, **changes):
    """The settings of a run on a stack of two RBMs; each worker reads some 300 frames in an iteration."""
    return config(
        network=NETWORK, initialisation=START | changes | {"parallel": {"period_frames": 300} | (parallel or {})}
    )


def layers(folder, own, train, make=Task):
    """Train each layer by `train(task)`, the lowest first, and return their tasks."""
    folder.mkdir(exist_ok=True)
    tasks, below = [], []
    for name, layer in stack_of(make_run(own)).items():
        task = make(folder / name, complete(layer, execution=False))
        task.constants = task.constants | constants.load(below)
        if task.constants:
            constants.save(folder / name / "constants.safetensors", task.constants)
        train(task)
        below.append(task.folder / "final.safetensors")
        tasks.append(task)
    return tasks


def literal(task, owner=None, shares=0):
    """The parameters after the steps of one worker, minibatch by minibatch in the plainest way.

    owner: of the utterances trained on, of so many shares; None for all of them.
    """
    store, run, network = task.train, task.run, task.session.network
    left, right = run.network.context
    frames = [store.read(int(a), int(b)) for a, b in zip(store.offsets, store.offsets[1:], strict=False)]
    mine = range(len(frames)) if owner is None else np.flatnonzero(np.array(owner) == 0)
    params, seen = initial_parameters(task.session), 0
    network.bind(params)
    updater = network.updater(run.optimiser)
    for iteration in task.plan.iterations:
        key = (run.seed, iteration.epoch) if owner is None else (run.seed, iteration.epoch, 0, shares)
        order = Order(store.lengths, mine, run.data.shuffle_window, key)
        listed = []
        for window in order.windows(0, len(order)):
            before = [(p.utterance, t) for p in order.pieces(window) for t in range(p.begin, p.end)]
            listed += [before[k] for k in order.shuffle(window)]
        ((begin, end),) = iteration.slices
        chance = generator_for(run.seed, 1, iteration.iteration, 0)
        for start in range(begin, end, run.minibatch):
            part = listed[start : min(start + run.minibatch, end)]
            rows = [
                np.concatenate([frames[u][np.clip(t + k, 0, len(frames[u]) - 1)] for k in range(-left, right + 1)])
                for u, t in part
            ]
            filled = network.buffers(len(part))
            filled.x.copy_(torch.from_numpy(np.stack(rows))[:, None])
            updater.begin_task(1.0, seen, 1)
            network.step_(filled, updater, run.optimiser.learning_rate, chance)
            seen += len(part)
    return params
