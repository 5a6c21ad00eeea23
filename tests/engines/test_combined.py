"""The candidate `combined`: which models it is made of, by a literal mean, after a kill, and who may not have it."""

import json

import pytest
import torch

from tests.support.miniature import Interrupted, Task, config
from unisono.config.check import read_config
from unisono.core import flat
from unisono.engines import combined
from unisono.engines.block import Stopped
from unisono.engines.evaluate import Split
from unisono.engines.initial import initial_parameters
from unisono.engines.run import make_run
from unisono.engines.store import COMBINE, Stored
from unisono.errors import UserError
from unisono.nn.model_file import load_model
from unisono.schedule import build_plan

torch.set_num_threads(1)


def settings(**options):
    return config(
        parallel__period_frames=120, final_model="combined", combined={"models": 6, "frames": 400, "evaluations": 8}
        | options, optimiser__kind="ng_online", network__dropout=0.2,
    )  # fmt: skip


def test_the_last_models_are_kept_none_of_the_first_half(tmp_path):
    task = Task(tmp_path, settings())
    total = len(task.plan.iterations)
    assert total > 12 and combined.kept(task.run, task.plan) == range(total - 6, total)
    task.virtual()
    assert sorted(path.name for path in task.iterations.glob("*.kept.*")) == sorted(
        f"{i}.kept.safetensors" for i in range(total - 6, total)
    )
    many = Task(tmp_path / "many", settings(models=20))
    assert combined.kept(many.run, many.plan) == range(max(total - 20, -(-total // 2)), total)
    short = Task(tmp_path / "short", config(schedule__epochs=None, schedule__iterations=1, combined={}))
    assert combined.kept(short.run, short.plan) == range(1)
    assert combined.kept(config_without(), short.plan) == range(0)


def config_without():
    return read_config({"name": "x"}).runs["main"]


def test_it_is_the_mean_of_the_models_or_better_on_its_frames(tmp_path):
    found = {}
    for evaluations in (1, 12):
        task = Task(tmp_path / str(evaluations), settings(evaluations=evaluations))
        task.jobs()
        found[evaluations] = task.facts()["combined"]
        models = [Stored(task.combined(i), COMBINE, task.network.layout, i).view("model").double() for i in
                  combined.kept(task.run, task.plan)]  # fmt: skip
        whole = load_model(task.folder / "models/combined.safetensors").flat
        if evaluations == 1:
            torch.testing.assert_close(whole.double(), sum(models) / 6, atol=1e-6, rtol=1e-5)
        else:  # a weight for each model and layer
            weights = torch.tensor(found[12]["weights"])
            mixed = flat.zeros(len(whole), torch.float64)
            for c, part in enumerate(flat.segments(task.network.layout, mixed)):
                for n, model in enumerate(models):
                    part += weights[n, c] * flat.segments(task.network.layout, model)[c]
            torch.testing.assert_close(whole.double(), mixed, atol=1e-6, rtol=1e-5)
            assert weights.shape == (6, 3) and bool((weights > 0).all())
        assert (task.folder / "final.safetensors").read_bytes() == (
            task.folder / "models/combined.safetensors"
        ).read_bytes()
    assert found[1]["objective"] == found[1]["objective_of_mean"] == found[12]["objective_of_mean"]
    assert found[12]["objective"] > found[12]["objective_of_mean"] and found[12]["evaluations"] == 12
    assert found[12]["frames"] == 400
    assert list(task.facts()["candidates"]) == ["combined", "last"]


def test_its_objective_is_that_of_evaluation_and_its_gradient_a_difference(tmp_path):
    """Dropout is off, and the frames are not those of the diagnostics."""
    session = Task(tmp_path, settings()).session
    params = initial_parameters(session)
    params += 0.1 * torch.randn(len(params), generator=torch.Generator().manual_seed(1))
    objective = combined.Objective(session, 400)
    value, gradient = objective(params)
    gradient = gradient.clone()
    network, split = session.network, Split(session.train, session.network.unit)
    network.bind(params)
    units = split.subset(combined._SUBSET, 400)
    assert not set(units) == set(split.subset(0, 400))
    window = split.load(units)
    batch = network.buffers(len(window))
    window.gather(0, len(window), batch)
    assert value == pytest.approx(float(network.evaluate(batch).objective_sum) / 400, abs=1e-6)
    direction = torch.randn(len(params), generator=torch.Generator().manual_seed(2)) * (gradient != 0)
    step = 1e-2 / float(direction.norm())
    ends = [objective(params + sign * step * direction)[0] for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient @ direction), rel=2e-2)


def test_a_killed_run_ends_with_the_same_combination(tmp_path):
    wanted = Task(tmp_path / "whole", settings()).virtual()
    task = Task(tmp_path / "killed", settings())
    task.initialise()
    stops = 0
    while True:
        try:
            task.block(checkpoint_s=0, interrupted=Interrupted(17))
            break
        except Stopped:
            stops += 1
    assert stops > 3 and task.finish() == wanted


def test_a_model_that_is_missing_or_of_another_network_is_one_line(tmp_path):
    task = Task(tmp_path, settings())
    task.virtual()
    first = combined.kept(task.run, task.plan)[0]
    other = Task(tmp_path / "other", config(**{"network": {"hidden": [8], "context": [2, 1]}}))
    combined.save(
        task.files.kept(first), {"model": initial_parameters(other.session)}, "model", other.network.layout, first
    )
    with pytest.raises(UserError, match=rf"{first}.kept.safetensors: is of another network than the config"):
        task.finish()
    task.files.kept(first).unlink()
    with pytest.raises(UserError, match=rf"{first}.kept.safetensors: no such file"):
        task.finish()


def test_a_run_that_still_grows_is_refused(tmp_path):
    growing = {
        "network": {"kind": "pnorm", "hidden": [8, 8, 8], "group": 2, "context": [2, 1]},
        "initialisation": {"kind": "layerwise", "period": 2}, "schedule__epochs": None, "final_model": "combined",
    }  # fmt: skip

    def refused(iterations, models):
        made = make_run(config(**growing, combined={"models": models}, schedule__iterations=iterations))
        assert made.insertions == (1, 3)
        lengths = [100] * 20
        plan = build_plan(lengths, made.schedule, made.parallel, made.minibatch, insertions=made.insertions)
        try:
            combined.check(made, plan)
        except UserError as error:
            return str(error)
        return None

    assert refused(6, 6) is None and refused(5, 2) is None  # of six the last three
    line = "combined: a layer is inserted before iteration 3, and models of one layout are combined: the last 2 of 4"
    assert refused(4, 2).startswith(line) and "\n" not in refused(4, 2)
    assert refused(5, 20) is None and refused(4, 1) is None


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"combined": {}, "schedule": "newbob"}, "combined: newbob may go back to an earlier model"),
        ({"final_model": "combined"}, "final_model: combined needs combined: give it (bare: {}) or choose one of last"),
        ({"combined": {"models": 21}}, "combined.models: 21 is out of range: at least 1 and at most 20"),
        (
            {"observers": {"combined": {"kind": "ema"}}},
            "observers.combined: last, best, combined are models of their own",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given, line):
    with pytest.raises(UserError) as error:
        read_config({"name": "x", **given})
    assert str(error.value).startswith(line), error.value


def test_a_wild_run_says_so(tmp_path, monkeypatch):
    task = Task(tmp_path, settings())
    task.virtual()
    monkeypatch.setattr(combined.Objective, "__call__", lambda self, params: (float("nan"), params))
    with pytest.raises(
        UserError, match="combined: the objective of the models' mean is nan: choose another final_model"
    ):
        task.finish()
    assert json.loads((tmp_path / "final.json").read_text())["combined"]["evaluations"] > 1
