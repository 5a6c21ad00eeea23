"""Stacks of RBMs: each layer is a run like any other, in every engine, and the stack becomes a network."""

import json
from pathlib import Path

import pytest
import torch

from tests.support.miniature import Interrupted, Task
from tests.support.pretraining import layers, literal, settings
from unisono.config.stack import stack_of
from unisono.core import flat
from unisono.engines.block import Stopped
from unisono.engines.initial import initial_parameters
from unisono.engines.join import join
from unisono.engines.run import make_run
from unisono.engines.store import COMBINE, Stored
from unisono.errors import UserError
from unisono.nn.model_file import load_model
from unisono.schedule import deal

torch.set_num_threads(1)
CASES = {
    "one": ({}, {}),
    "three": ({"workers": 3, "carry_state": "average"}, {"momentum": {"ramp": "local", "ramp_frames": 900}}),
    "bmuf": ({"workers": 2, "combine": "bmuf"}, {"visible": "sample", "cd_steps": 2}),
    "gossip": ({"workers": 2, "combine": "ring", "carry_state": "reset"}, {"weight_decay": 0.01}),
    "fixed": ({"workers": 2, "dealing": "fixed"}, {"momentum": {"final_at_once": True}}),
    "alone": ({"workers": 4, "average": False}, {"gaussian": {"epochs": 1}}),
}


def own(case):
    parallel, changes = CASES[case]
    return settings(parallel, **changes)


def models(tasks):
    return [(task.folder / "final.safetensors").read_bytes() for task in tasks]


@pytest.mark.parametrize("case", CASES)
def test_jobs_and_virtual_write_the_same_bytes_in_each_layer(tmp_path, spoken_task, case):
    by_jobs = layers(tmp_path / "jobs", own(case), lambda task: task.jobs(), spoken_task)
    virtual = layers(tmp_path / "virtual", own(case), lambda task: task.virtual(), spoken_task)
    assert models(by_jobs) == models(virtual)
    for one, other in zip(by_jobs, virtual, strict=True):
        assert one.metrics() == other.metrics()
        combined = [row for row in one.metrics() if row["worker"] is None]
        if case != "alone":  # which sees a quarter of little speech
            assert combined[-1]["objective_dev"] > combined[0]["objective_dev"], "the reconstruction gets better"
        assert all(row["frame_accuracy"] is None for row in one.metrics())
        assert ("free_energy_gap" in combined[0]) == (one.run.network.layer > 1)
        rates = {one.read_state(i).learning_rate for i in range(-1, one.last)}
        assert rates == {0.01 if one.run.network.layer == 1 else 0.4}, "never multiplied by the workers"


@pytest.mark.mpi
def test_sync_writes_the_bytes_of_virtual(tmp_path, mpirun, root, spoken_task):
    script = Path(__file__).parent.parent / "support" / "sync_runs.py"

    def by_ranks(task):
        task.initialise()
        words = ["-m", "mpi4py", script, task.folder]
        done = mpirun(task.session.most_workers, words, timeout=300, env={"PYTHONPATH": str(root / "src")})
        assert done.returncode == 0, done.stderr[-2000:]
        task.finish()

    wanted = layers(tmp_path / "virtual", own("three"), lambda task: task.virtual(), spoken_task)
    assert models(layers(tmp_path / "sync", own("three"), by_ranks, spoken_task)) == models(wanted)


def test_each_layer_goes_on_where_it_was_killed(tmp_path, spoken_task):
    wanted = layers(tmp_path / "whole", own("three"), lambda task: task.virtual(), spoken_task)

    def killed_and_resumed(task):
        task.initialise()
        for questions in (3, 40, 7):
            with pytest.raises(Stopped):
                task.block(interrupted=Interrupted(questions), checkpoint_s=0)
        task.block()
        task.finish()

    assert models(layers(tmp_path / "killed", own("three"), killed_and_resumed, spoken_task)) == models(wanted)


def test_one_worker_is_serial_training_to_the_bit(tmp_path):
    for task in layers(tmp_path, own("one"), lambda task: task.virtual()):
        found = Stored(task.combined(task.last), COMBINE, task.session.layout, task.last).view("model")
        assert found.numpy().tobytes() == literal(task).numpy().tobytes()


def test_the_published_programs_options_train_the_first_share_alone(tmp_path):
    """docs/mathematics.md 6.5: nothing is exchanged, one Gaussian epoch, a ramp of its own frames, momentum at once."""
    momentum = {"ramp": "local", "final_at_once": True, "ramp_frames": 400, "steps": 4}
    own = settings({"workers": 4, "average": False}, gaussian={"epochs": 1}, momentum=momentum)
    for task in layers(tmp_path, own, lambda task: task.virtual()):
        found = Stored(task.combined(task.last), COMBINE, task.session.layout, task.last).view("model")
        lengths = task.train.lengths.tolist()
        owner = deal(lengths, 4)
        assert found.numpy().tobytes() == literal(task, owner, 4).numpy().tobytes()
        ledger = json.loads((task.folder / "ledger.json").read_text())
        shares = [sum(n for n, k in zip(lengths, owner, strict=True) if k == share) for share in range(4)]
        counts = ledger["workers"]
        assert [counts[str(k)]["seen"] for k in range(4)] == [shares[0], 0, 0, 0]
        assert [counts[str(k)]["dropped"] for k in range(4)] == [0, *shares[1:]]
        assert (ledger["corpus_frames"], ledger["epochs"]) == (sum(lengths), 1)


def test_a_stack_becomes_a_network(tmp_path):
    tasks = layers(tmp_path, own("one"), lambda task: task.virtual())
    files = [task.folder / "final.safetensors" for task in tasks]
    for file in files:
        model = load_model(file)
        assert model.log_prior is None and not model.constants
    main = Task(tmp_path / "main", own("one"))
    join(main.run, main.train, files, tmp_path / "pretrained.safetensors")
    session = main.session
    params = initial_parameters(session, str(tmp_path / "pretrained.safetensors"))
    *hidden, output = flat.views(session.layout, params).values()
    for matrix, file in zip(hidden, files, strict=True):
        model = load_model(file)
        assert torch.equal(matrix, flat.views(model.layout, model.flat)["hidden"])
    assert not output[:, -1].any()
    spread = 3.5 * (2.0 / (14 + 9)) ** 0.5
    assert float(output[:, :-1].std()) == pytest.approx(spread, rel=0.2)
    with pytest.raises(UserError, match=r"1 layers, the network has 2"):
        join(main.run, main.train, files[:1], tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="do not chain"):
        join(main.run, main.train, [files[0], files[0]], tmp_path / "x.safetensors")


def test_the_name_of_a_layer_says_what_it_depends_on():
    def names(parallel=None, hidden=(20, 14), seed=1, **changes):
        made = settings(parallel, **changes)
        made["network"]["hidden"], made["seed"] = list(hidden), seed
        return list(stack_of(make_run(made)))

    one = names()
    assert [name.split(".")[:2] for name in one] == [["rbm", "1"], ["rbm", "2"]]
    assert names(hidden=(20, 14, 9))[:2] == one, "the widths above do not count"
    assert names(bernoulli={"epochs": 3})[0] == one[0] and names(bernoulli={"epochs": 3})[1] != one[1]
    for other in (names(hidden=(21, 14)), names(seed=2), names({"workers": 2}), names(gaussian={"epochs": 1})):
        assert not set(other) & set(one)
