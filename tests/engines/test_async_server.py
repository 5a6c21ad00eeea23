"""The server of engine `async` alone: what comes at one moment from several workers is kept apart."""

import numpy as np
import torch

from tests.support.miniature import Task, config
from unisono.engines.async_server import Server
from unisono.engines.block import Block
from unisono.engines.evaluate import KEYS
from unisono.engines.link import Say, Tell


class Wire:
    """In place of MPI: two workers, of whom the whole story is known before."""

    workers = 2

    def __init__(self):
        self.story, self.answers = [], []

    def arrived(self):
        return self.story.pop(0)

    def answer(self, worker, say, *numbers):
        self.answers.append((worker, say, *numbers))

    def send(self, data, worker):
        pass


def looked(worker, **found):
    values = [found.get(key, np.inf) for key in KEYS]
    return worker, Tell.LOOKED, np.array([0.0, 1.5, *values])


def test_an_epoch_is_judged_by_the_model_at_its_end(tmp_path):
    """The other worker still evaluates the model before; both report at the same time."""
    task, wire = Task(tmp_path, config(parallel__combine="async", parallel__arrival="live")), Wire()
    task.initialise()
    session = task.session
    block = Block(
        first=0,
        last=task.last,
        iterations_dir=task.iterations,
        state_dir=tmp_path / "state",
        checkpoint_s=100.0,
        interrupted=lambda: False,
    )
    server = Server(session, block, wire)
    model = torch.zeros(session.layout.size)
    ready = np.zeros(1)
    wire.story = [
        [(0, Tell.READY, ready), (1, Tell.READY, ready)],
        [looked(0, objective_dev=-2.0, objective_dev_full=-2.5), looked(1, objective_dev=-9.0)],
    ]
    server._listen()
    server._send_model(server._waiting.pop(), 0, model, whole_dev=False)
    found = server.evaluate(model, iteration=1, whole_dev=True)
    assert found == {"objective_dev": -2.0, "objective_dev_full": -2.5}
    assert wire.answers == [(1, Say.LOOK, 0, 0.0), (0, Say.LOOK, 1, 1.0)]
