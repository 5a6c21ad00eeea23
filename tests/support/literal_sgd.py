"""Plain SGD in the plainest way, a twin of the inner loop."""

import numpy as np
import torch

from unisono.core.optimiser import Optimiser
from unisono.data.frames.order import Order
from unisono.engines.initial import initial_parameters
from unisono.engines.seeds import generator_for
from unisono.nn.batch import Batch


def one_by_one(values):
    """Their sum, rounded after each; since Python 3.12 `sum` of floats is more exact than that."""
    total = 0.0
    for value in values:
        total += value
    return total


def literal_sgd(task):
    """Plain SGD in the plainest way: the epoch's order as a list, each minibatch spliced frame by frame.

    Returns the parameters, and for each iteration the mean log-probability of its frames, their accuracy, and the part
    of the steps that max-change limited.
    """
    store, run = task.train, task.run
    left, right = run.network.context
    frames = [store.read(int(a), int(b)) for a, b in zip(store.offsets, store.offsets[1:], strict=False)]
    ids = [store.read_ids(int(a), int(b)) for a, b in zip(store.offsets, store.offsets[1:], strict=False)]
    params, network = initial_parameters(task.session), task.network
    network.bind(params)
    optimiser = Optimiser(run.optimiser, network.layout)
    first, last = run.optimiser.learning_rate, run.schedule.final_learning_rate
    total, done, records = store.frames * run.schedule.epochs, 0, []
    for iteration in task.plan.iterations:
        order = Order(store.lengths, range(len(frames)), run.data.shuffle_window, (run.seed, iteration.epoch))
        listed = []
        for window in order.windows(0, len(order)):
            before = [(p.utterance, t) for p in order.pieces(window) for t in range(p.begin, p.end)]
            listed += [before[k] for k in order.shuffle(window)]
        number = iteration.iteration
        rate = last if number == task.last else first * (last / first) ** (done / total)
        small = number == 0 and not run.parallel.served
        minibatch = run.optimiser.minibatch // 2 if small else run.optimiser.minibatch
        optimiser.max_change_scale = 2**-0.5 if small else 1.0
        for slice_, (begin, end) in enumerate(iteration.slices):
            dropout = generator_for(run.seed, 1, number, slice_)
            steps = []
            for start in range(begin, end, minibatch):
                part = listed[start : min(start + minibatch, end)]
                rows = [
                    np.concatenate([frames[u][np.clip(t + k, 0, len(frames[u]) - 1)] for k in range(-left, right + 1)])
                    for u, t in part
                ]
                x, y = torch.from_numpy(np.stack(rows)), torch.tensor([int(ids[u][t]) for u, t in part])
                steps.append(network.step_(Batch(x[:, None], y[:, None], None), optimiser, rate, dropout))
            done += end - begin
            objective = one_by_one(s.objective_sum for s in steps)
            correct, limited = (sum(getattr(s, name) for s in steps) for name in ("correct", "limited"))
            records.append((objective / (end - begin), correct / (end - begin), limited / len(steps)))
    return params, records
