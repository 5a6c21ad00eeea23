"""The candidate `combined`: the best combination of a run's last models, found by L-BFGS on frames of training.

While a run goes on, each of the last models is kept in `{i}.kept.safetensors`, beside what lies between iterations; the
end of the run reads them one at a time (docs/mathematics.md 6.1.8).
"""

import logging
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unisono.config.run import Run
from unisono.core import combination
from unisono.core.gradient import Gradient
from unisono.engines import redeal
from unisono.engines.evaluate import BATCH, Split
from unisono.engines.session import Session
from unisono.engines.store import MODEL, Folder, Stored, save
from unisono.errors import UserError
from unisono.nn.network import Network, make
from unisono.schedule import Plan

logger = logging.getLogger("unisono.finish")
_SUBSET = 2  # 0 and 1 are the diagnostics' subsets of train and dev


def kept(run: Run, plan: Plan) -> range:
    """Return the iterations whose models are combined: the last, none of the run's first half, at least one."""
    if run.combined is None:
        return range(0)
    total = len(plan.iterations)
    first = max(total - run.combined.models, -(-total // 2), redeal.last_done(plan, run.parallel.workers) + 1)
    return range(min(total - 1, first), total)


def keep(session: Session, folder: Folder, iteration: int, model: Tensor) -> None:
    """Write the model [P] after an iteration to `folder` where the end of the run will want it."""
    if iteration in kept(session.run, session.plan):
        save(folder.kept(iteration), {"model": model}, MODEL, session.layout, iteration)


def check(run: Run, plan: Plan) -> None:
    """Refuse a plan whose network still grows while its models are kept. Raises UserError."""
    iterations = kept(run, plan)
    for number in run.insertions:
        if number in iterations[1:]:
            raise UserError(
                f"combined: a layer is inserted before iteration {number}, and models of one layout are combined: the"
                f" last {len(iterations)} of {len(plan.iterations)} iterations: train longer, or lower combined.models"
            )


def combine(session: Session, folder: Folder) -> tuple[Tensor, dict[str, Any]]:
    """Return the combined model [P], float32, and what final.json says of it.

    Raises UserError where a model is missing or of another layout, and where their mean is not finite.
    """
    options, iterations = session.run.combined, kept(session.run, session.plan)
    assert options is not None
    files = [Stored(folder.kept(i), MODEL, session.layout, i) for i in iterations]
    begun, objective = time.perf_counter(), Objective(session, options.frames)
    shares = combination.triangular_shares(len(files), len(files))
    try:
        found = combination.combine(
            lambda n: files[n].view("model"), shares, session.layout, objective, options.evaluations, torch.float32
        )
    except ValueError as error:
        raise UserError(f"combined: {error}: choose another final_model, or lower the rate") from None
    logger.info(
        "combined %d models: objective %.4f, of their mean %.4f; %d evaluations of %d frames, %.1f s",
        len(files), found.objective, found.mean_objective, found.evaluations, objective.frames,
        time.perf_counter() - begun,
    )  # fmt: skip
    return found.model, {
        "iterations": list(iterations), "weights": found.weights.tolist(), "frames": objective.frames,
        "evaluations": found.evaluations, "objective": found.objective, "objective_of_mean": found.mean_objective,
    }  # fmt: skip


class Objective:
    """The objective per frame on a fixed subset of training frames, with its gradient; without dropout, in float32.

    frames: how many there are, known after the first evaluation.
    """

    def __init__(self, session: Session, frames: int) -> None:
        plain = session.run.network
        plain = replace(plain, dropout=0.0) if hasattr(plain, "dropout") else plain
        constants = session.network.constants
        self._network: Network = make(plain, session.train.dim, session.train.num_pdfs, "float32", constants)
        self._gradient, self._device = Gradient(self._network.layout), session.place.device
        split, size = Split(session.train, self._network.unit), max(1, BATCH // self._network.unit.width)
        units = split.subset(_SUBSET, frames)
        self._windows = [split.load(units[begin : begin + size]) for begin in range(0, len(units), size)]
        self.frames = 0

    def __call__(self, params: Tensor) -> tuple[float, Tensor]:
        """Return the objective at params [P] and its derivative [P], both per frame."""
        self._network.bind(params.to(self._device))
        self._gradient.reset()
        total, self.frames = 0.0, 0
        for window in self._windows:
            batch = self._network.buffers(len(window))
            self.frames += window.gather(0, len(window), batch)
            total += float(self._network.step_(batch, self._gradient, 0.0).objective_sum)
        assert self._gradient.sum is not None
        return total / self.frames, self._gradient.sum.div_(self.frames).to(params)
