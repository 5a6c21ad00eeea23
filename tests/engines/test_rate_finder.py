"""The rate finder on a miniature run: what it tries is what a first iteration does, and it suggests what learns."""

import numpy as np
import pytest
import torch

from tests.support.miniature import Task, config
from unisono.cli import rate_finder as command
from unisono.engines import rate_finder
from unisono.engines.initial import initial_parameters
from unisono.errors import UserError

torch.set_num_threads(1)


@pytest.mark.parametrize(("kind", "scaled"), [("sgd", True), ("ng_online", False)])
def test_a_try_is_the_first_iteration_of_a_run_at_that_rate(tmp_path, kind, scaled):
    changes = {
        "optimiser__kind": kind, "parallel__workers": 3, "parallel__combine": {"kind": "mean", "weights": "equal"},
        "parallel__first_iteration": "combine", "parallel__scale_rate_with_workers": scaled,
    }  # fmt: skip
    task = Task(tmp_path, config(**changes, optimiser__learning_rate=0.002))
    task.virtual()
    session = task.session
    start = initial_parameters(session)
    (tried,) = rate_finder.try_rates(session, start, [0.002], 10**9)
    expected = task.read_state(0).diagnostics["objective_dev"]
    assert tried.objective == pytest.approx(expected, abs=1e-6)
    # It leaves the start as it was, and fewer frames teach less.
    assert torch.equal(start, initial_parameters(session))
    (short,) = rate_finder.try_rates(session, start, [0.002], 32)
    assert rate_finder.objective_of(session, start) < short.objective < tried.objective


def test_rates_that_break_the_model_have_no_objective(tmp_path):
    task = Task(tmp_path, config(optimiser__max_change="none"))
    session = task.session
    start = initial_parameters(session)
    begun = rate_finder.objective_of(session, start)
    tried = list(rate_finder.try_rates(session, start, [1e-3, 1e30], 500))
    assert tried[0].objective is not None and tried[1].objective is None
    assert rate_finder.suggested(tried, begun) == 5e-4 and rate_finder.suggested(tried[1:], begun) is None


def test_the_suggestion_is_half_of_the_lowest_rate_that_gains_almost_as_much_as_the_best():
    rows = ((0.1, -2.9), (0.2, -2.09), (0.4, -2.0), (0.8, -2.05), (1.6, None))
    tried = [rate_finder.Tried(rate, objective) for rate, objective in rows]
    assert rate_finder.suggested(tried, -3.0) == 0.1  # 90 % of a gain of 1.0 is reached at 0.2
    assert rate_finder.suggested(tried, -2.2) == 0.2  # of 0.2 only at 0.4
    assert rate_finder.suggested(tried, -1.9) is None and rate_finder.suggested(tried, None) is None


def test_the_grid():
    np.testing.assert_allclose(rate_finder.grid(1e-4, 1.0, 5), [1e-4, 1e-3, 1e-2, 0.1, 1.0])
    for wrong in ((0.0, 1.0, 5), (1.0, 0.1, 5), (0.1, 1.0, 2)):
        with pytest.raises(UserError, match="give 0 < from < to and 3 steps or more"):
            rate_finder.grid(*wrong)


def test_the_command_prints_draws_and_changes_nothing(tmp_path, capsys):
    run = tmp_path / "results/x/runs/main"
    task = Task(run)
    (run.parent.parent / "frames").mkdir()
    for name in ("train.h5", "dev.h5"):
        (run / name).rename(run.parent.parent / "frames" / name)

    class Args:
        out, frames, lowest, highest, steps, device, threads = str(tmp_path / "r.svg"), 300, 1e-4, 1e-1, 4, "cpu", 1

    Args.run = str(run)
    with pytest.raises(UserError, match="init.combine.safetensors: no such file: make it: snakemake --cores 1"):
        command.run(Args)
    task.initialise()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    command.run(Args)
    lines = capsys.readouterr().out.splitlines()
    rates = {float(line.split()[0]): float(line.split()[1]) for line in lines[1:5]}
    begun = float(lines[0].split()[-1].rstrip(")"))
    lowest = min(rate for rate, value in rates.items() if value - begun >= 0.9 * (max(rates.values()) - begun))
    assert list(rates) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert lines[5].startswith(f"suggestion: optimiser.learning_rate: {lowest / 2:.2g}, half of the lowest that gains")
    assert "on 300 frames of each of 2 workers (the config says 0.004)" in lines[5]
    assert b"<svg" in (tmp_path / "r.svg").read_bytes()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
