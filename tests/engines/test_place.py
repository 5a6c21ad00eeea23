"""Where workers compute. All that a GPU needs of our own code runs here on the CPU, by the same lines."""

import argparse
import gc
import weakref
from functools import partial

import pytest
import torch

from tests.support.miniature import LIMIT, TENANTS, Interrupted, Task, config
from tests.support.pretraining import layers
from tests.support.pretraining import settings as stacked
from unisono.cli import arguments
from unisono.data.frames.loader import Loader, Slice
from unisono.data.frames.resident import Resident, bytes_needed
from unisono.data.frames.window import load_window
from unisono.engines import place, session
from unisono.engines.initial import initial_parameters
from unisono.engines.place import CPU, Place, local_rank, place_for
from unisono.engines.replay import Replay
from unisono.engines.worker import Task as Work
from unisono.engines.worker import Worker
from unisono.errors import UserError
from unisono.nn.batch import Batch, StepStats
from unisono.units import TrainingUnit

torch.set_num_threads(1)
DEFERRED = Place(torch.device("cpu"), deferred=True)


@pytest.mark.parametrize(
    ("environ", "rank", "expected"),
    [
        ({}, 5, 5),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, 5, 1),
        ({"MPI_LOCALRANKID": "0"}, 4, 0),
        ({"PMI_LOCAL_RANK": "3"}, 7, 3),
        ({"SLURM_LOCALID": "2"}, 6, 2),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "SLURM_LOCALID": "0"}, 5, 1),  # srun started mpirun's daemon
        ({"SLURM_LOCALID": ""}, 3, 3),
        ({"SLURM_LOCALID": "x"}, 3, 3),
    ],
)
def test_local_rank_is_what_the_launcher_says(environ, rank, expected):
    assert local_rank(environ, rank) == expected


@pytest.fixture
def visible(monkeypatch):
    """Pretend that so many GPUs are there; what CUDA is asked for is noted."""
    asked = []
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(place, "allow_tf32", asked.append)

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        return asked

    return pretend


def test_device_auto_cpu_cuda(visible):
    visible(0)
    assert place_for("auto", 0, "bf16") == CPU and place_for("cpu", 0, "float32") == CPU
    with pytest.raises(UserError, match="resources.device: cuda: no GPU is visible: .* or take auto"):
        place_for("cuda", 0, "float32")
    asked = visible(2)
    assert place_for("cpu", 3, "float32") == CPU and asked == []
    assert place_for("auto", 3, "tf32") == Place(torch.device("cuda", 1), deferred=True)
    assert place_for("cuda", 2, "float32") == Place(torch.device("cuda", 0), deferred=True)
    assert asked == ["tf32", 1, "float32", 0]


def test_commands_that_use_a_network_choose_in_the_process_that_computes(visible):
    """Shard k of a split takes GPU k modulo their number; a demanded GPU that is missing is told at once."""
    asked = visible(2)
    for device, shard, wanted in (("auto", 3, "cuda:1"), ("cuda", 2, "cuda:0"), ("cpu", 1, "cpu")):
        choose = arguments.device_of(argparse.Namespace(device=device), shard)
        assert asked == [] and choose() == torch.device(wanted)
        asked.clear()
    visible(0)
    assert arguments.device_of(argparse.Namespace(device="auto"))() == torch.device("cpu")
    with pytest.raises(UserError, match="resources.device: cuda: no GPU is visible"):
        arguments.device_of(argparse.Namespace(device="cuda"))


def test_ranks_on_a_node_take_different_gpus_and_share_where_there_are_fewer(visible):
    for count, numbers in {4: [0, 1, 2, 3, 0], 2: [0, 1, 0, 1, 0]}.items():
        visible(count)
        assert [place_for("auto", rank, "float32").device.index for rank in range(5)] == numbers


def test_a_demanded_gpu_that_is_not_there_is_one_line(task, capsys, monkeypatch):
    from unisono.__main__ import main

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    files = {"config": "config.json", "plan": "plan.json", "frames": "train.h5"}
    command = ["train-job", "--device", "cuda", "--iteration", "0", "--job", "0"]
    for flag, name in files.items():
        command += [f"--{flag}", str(task.folder / name)]
    command += ["--combined", str(task.combined(-1)), "--state", str(task.state(-1))]
    for flag in ("--out-model", "--out-state", "--out-stats"):
        command += [flag, str(task.folder / flag.strip("-"))]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("unisono train-job: error: resources.device: cuda: no GPU is visible")


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_run_ends_where_it_computes(tmp_path, monkeypatch, precision):
    """Rule finish evaluates, combines and takes the mean posterior on the device that it is told."""
    from unisono.__main__ import main

    changes = {"prior": "posteriors", "combined": {"models": 2, "frames": 100}, "precision": precision}
    asked, task = [], Task(tmp_path, config(final_model="combined") | changes)
    wanted = task.virtual()
    monkeypatch.setattr(session, "place_for", lambda device, _, said: asked.append((device, said)) or DEFERRED)
    files = {"config": "config.json", "plan": "plan.json", "frames-train": "train.h5", "frames-dev": "dev.h5"}
    files |= {"models-dir": "models", "out": "final.safetensors", "out-info": "final.json", "ledger": "ledger.json"}
    files |= {"iterations-dir": "iterations"}
    (task.folder / "final.safetensors").unlink()
    command = ["finish", "--engine", "virtual", "--combined", str(task.combined(task.last))]
    for flag, name in files.items():
        command += [f"--{flag}", str(task.folder / name)]
    assert main(command) == 0 and asked == [("auto", precision)]
    assert (task.folder / "final.safetensors").read_bytes() == wanted


COMBINE = ["combine", "--iteration", "0", "--models", "m", "--worker-states", "s", "--stats", "missing.json"]


@pytest.mark.parametrize(
    ("words", "final", "places"),
    [
        ([*COMBINE, "--out-state", "p"], "best", [("auto", "tf32")]),
        ([*COMBINE, "--out-state", "p"], "last", [("cpu", "tf32")]),  # it evaluates nothing and needs no GPU
        (["diagnose"], "last", [("auto", "tf32")]),
    ],
)
def test_the_model_is_evaluated_in_the_same_precision_in_every_engine(
    tmp_path, monkeypatch, capsys, words, final, places
):
    """Rules combine and diagnose tell CUDA what train-job does: under tf32 dev objectives are in TF32 everywhere."""
    from unisono.__main__ import main

    asked, task = [], Task(tmp_path, config(final_model=final) | {"precision": "tf32"})
    task.initialise()
    monkeypatch.setattr(session, "place_for", lambda device, _, precision: asked.append((device, precision)) or CPU)
    command = list(words)
    files = {"config": "config.json", "plan": "plan.json", "frames-train": "train.h5", "frames-dev": "dev.h5"}
    for flag, name in files.items():
        command += [f"--{flag}", str(task.folder / name)]
    command += ["--combined", str(task.combined(-1)), "--state", str(task.state(-1)), "--out", str(tmp_path / "o")]
    code = main(command)
    assert (code, asked) == (0 if words[0] == "diagnose" else 2, places), capsys.readouterr().err


CASES = {
    "sgd": {},
    "ng": {"optimiser__kind": "ng_online", "optimiser__max_change": LIMIT, "network__nonlinearity": "tanh"},
    "dropout": {"network__dropout": 0.3, "network__nonlinearity": "sigmoid", "optimiser__momentum": 0.0},
}
WORK = Work(2, 1, 1, Slice(1, -1, 64, 530), 32, 0.01, 1.0, 0, 2)  # fifteen minibatches, the last one smaller


def worker_for(task, where, capture=None):
    worker = Worker(1, task.network, task.network.updater(task.run.optimiser), 3, where)
    if capture is not None:
        worker._replay = Replay(worker.optimiser.skip, lambda step: capture(worker.optimiser, step))
    worker.params.copy_(initial_parameters(task.session))
    return worker


class Repeated:
    stats = None

    def replay(self):
        """Nothing is computed."""


def test_a_captured_step_keeps_its_minibatch():
    """The key names its storage, which until the next key nothing else may be given."""
    replay, steps = Replay(lambda: None, lambda step: Repeated()), [partial(int) for _ in range(4)]
    held, kept = [weakref.ref(step) for step in steps], []
    for key in ("a", "a", "a", "b"):
        replay.take(steps.pop(0), key)
        gc.collect()
        kept.append([number for number in range(4 - len(steps)) if held[number]() is not None])
    assert kept == [[], [1], [1], []]


@pytest.mark.parametrize("case", CASES)
def test_a_deferred_worker_agrees_with_an_eager_one(tmp_path, case):
    task = Task(tmp_path, config(**CASES[case]))
    with task.session.loader() as loader:
        eager, deferred = (worker_for(task, where) for where in (CPU, DEFERRED))
        wanted, found = eager.run(WORK, loader), deferred.run(WORK, loader)
    torch.testing.assert_close(deferred.params, eager.params, rtol=1e-5, atol=1e-6)
    assert isinstance(found.objective_sum, float) and isinstance(found.correct, int) and found.device == "cpu"
    assert found.objective_sum == pytest.approx(wanted.objective_sum, rel=1e-6)
    counts = found.frames, found.minibatches, found.limited, found.complete
    assert counts == (wanted.frames, wanted.minibatches, wanted.limited, True)
    assert (0 < found.limited < found.minibatches) == (case == "ng")


class Recorded:
    """What CudaGraph is, without CUDA: a step that is done again, with Python's counting undone."""

    made = 0

    def __init__(self, optimiser, step):
        Recorded.made += 1
        self._step, self._sides = step, getattr(optimiser, "_estimators", [])  # an RBM has none
        self._counts = [side.count for side in self._sides]
        count = torch.zeros(2, dtype=torch.int64)
        self.stats = StepStats(torch.zeros((), dtype=torch.float64), count[0], 0, count[1])
        optimiser.skip()  # Python runs once while a step is captured

    def replay(self):
        now = [side.count for side in self._sides]
        self._count(self._counts)  # the kernels of the captured step, whatever Python would do by now
        done = self._step()
        self._count(now)
        self.stats.objective_sum.copy_(done.objective_sum)
        self.stats.correct.copy_(torch.as_tensor(done.correct))
        self.stats.limited.copy_(torch.as_tensor(done.limited))
        self.stats = self.stats._replace(frames=done.frames)

    def _count(self, counts):
        for side, count in zip(self._sides, counts, strict=True):
            side.count = count


@pytest.mark.parametrize("case", CASES)
def test_replayed_steps_are_the_eager_ones(tmp_path, case, monkeypatch):
    task = Task(tmp_path, config(**CASES[case]))
    monkeypatch.setattr(Recorded, "made", 0)
    with task.session.loader() as loader:
        eager, replayed = worker_for(task, DEFERRED), worker_for(task, DEFERRED, Recorded)
        wanted, found = eager.run(WORK, loader), replayed.run(WORK, loader)
        assert replayed.params.numpy().tobytes() == eager.params.numpy().tobytes()
        assert (found.objective_sum, found.correct) == (wanted.objective_sum, wanted.correct)
        assert found.limited == wanted.limited
        assert Recorded.made == 1
        for one in (eager, replayed):  # another iteration: another rate, the same storage
            one.run(WORK._replace(iteration=3, rate=0.002), loader)
        assert replayed.params.numpy().tobytes() == eager.params.numpy().tobytes()
    states = eager.optimiser.state(), replayed.optimiser.state()
    assert states[0].keys() == states[1].keys() and all(torch.equal(states[1][k], t) for k, t in states[0].items())


@pytest.mark.parametrize("number", [1, 2])
def test_replayed_steps_of_an_rbm_are_the_eager_ones(tmp_path, number, monkeypatch):
    """Along the ramp of momentum and rate, past an evaluation, and near those of a CPU with the same chance."""
    task = layers(tmp_path, stacked(), lambda task: task.virtual())[number - 1]
    monkeypatch.setattr(Recorded, "made", 0)
    rate = task.run.optimiser.learning_rate
    works = [WORK._replace(iteration=i, rate=rate, seen=600 * i, workers=i) for i in (1, 2, 3)]
    with task.session.loader() as loader:
        workers = worker_for(task, CPU), worker_for(task, DEFERRED), worker_for(task, DEFERRED, Recorded)
        records = []
        for work in works:
            records.append([worker.run(work, loader) for worker in workers])
            task.network.evaluate(task.network.buffers(30))
    plain, eager, replayed = workers
    assert Recorded.made >= 1 and replayed.params.numpy().tobytes() == eager.params.numpy().tobytes()
    torch.testing.assert_close(eager.params, plain.params, rtol=1e-4, atol=1e-5)
    for one, other, third in records:
        assert other.objective_sum == third.objective_sum == pytest.approx(one.objective_sum, rel=1e-4)
    states = [worker.optimiser.state() for worker in workers[1:]]
    assert all(torch.equal(states[1][k], t) for k, t in states[0].items())


@pytest.mark.parametrize("where", [DEFERRED, CPU], ids=["deferred", "cpu-bf16"])
@pytest.mark.parametrize("case", CASES)
def test_a_worker_resumes_to_the_bit(tmp_path, case, where):
    """Deferred, and with layers wide enough for a CPU's unit for bfloat16."""
    settings = config(**CASES[case])
    if where is CPU:
        settings |= {"precision": "bf16", "network": settings["network"] | {"hidden": [96, 80]}}
    task = Task(tmp_path, settings)
    with task.session.loader() as loader:
        whole, broken, other = (worker_for(task, where) for _ in range(3))
        wanted = whole.run(WORK, loader)
        assert not broken.run(WORK, loader, Interrupted(6)).complete
        other.params.fill_(7.0)
        other.restore(broken.save())
        stats = other.run(WORK, loader)
    assert stats.complete and other.params.numpy().tobytes() == whole.params.numpy().tobytes()
    assert stats.objective_sum == pytest.approx(wanted.objective_sum, rel=1e-12) and stats.correct == wanted.correct


def test_a_generator_of_another_device_is_not_taken_over(task):
    worker = worker_for(task, CPU)
    saved = worker.save()
    own = worker._generator.get_state()
    worker.restore(saved | {"generator": torch.zeros(16, dtype=torch.uint8)})  # as long as that of a GPU
    assert torch.equal(worker._generator.get_state(), own)


@pytest.mark.parametrize("unit", [(1, 2, 1), (7, 3, 2), (60, 4, 0)])
def test_windows_of_a_resident_store_are_those_of_the_file(task, monkeypatch, unit):
    from unisono.data.frames import resident

    monkeypatch.setattr(resident, "_CHUNK", 150)  # several reads
    unit = TrainingUnit(*unit)
    kept = Resident(task.train, unit, torch.device("cpu"))
    assert kept._rows.nbytes == bytes_needed(task.train, unit)
    with Loader(task.train, unit, seed=1, window=37) as loader:
        order = loader.order(1, -1)
    for number in order.windows(0, len(order)):
        begin, end = order.span(number)
        found = []
        n = end - begin
        for window in (kept.window(order, number), load_window(task.train, order, number, unit)):
            x, ids = torch.empty(n, unit.frames * task.train.dim), torch.empty(n, unit.width, dtype=torch.int64)
            batch = Batch(x, ids, torch.ones(n, unit.width), torch.zeros(n, dtype=torch.int64))
            found.append((window.gather(0, n, batch), *batch))
        assert found[0][0] == found[1][0] and all(map(torch.equal, found[0][1:], found[1][1:]))


def test_a_run_in_bf16_is_another_run_near_the_same_end_and_says_where_it_computed(tmp_path):
    plain, short = (Task(tmp_path / n, config() | more) for n, more in (("a", {}), ("b", {"precision": "bf16"})))
    assert plain.virtual() != short.virtual() and short.run.precision == "bf16"
    ends = [plain.facts(), short.facts()]
    assert [end["devices"] for end in ends] == [["cpu"], ["cpu"]]
    objectives = [end["candidates"]["last"]["objective_dev"] for end in ends]
    assert objectives[1] == pytest.approx(objectives[0], abs=0.02)


@pytest.mark.parametrize("hidden", [[16], [96, 80]])
def test_bf16_is_the_same_in_every_engine(tmp_path, hidden):
    """Also where layers are wide enough for a CPU's own unit."""
    settings = config(optimiser__kind="ng_online", network__hidden=hidden) | {"precision": "bf16"}
    assert Task(tmp_path / "a", settings).virtual() == Task(tmp_path / "b", settings).jobs()


@pytest.mark.parametrize("tenant", ["", *TENANTS])
def test_a_deferred_run_ends_where_an_ordinary_one_does(tmp_path, tenant):
    changes = {"optimiser__kind": "ng_online", "parallel__combine": "bmuf", "parallel__workers": 3}
    settings = config(**changes | TENANTS.get(tenant, {}))
    plain, other = Task(tmp_path / "a", settings), Task(tmp_path / "b", settings)
    plain.virtual()
    other.virtual(place=DEFERRED)
    objectives = [task.facts()["candidates"]["last"]["objective_dev"] for task in (plain, other)]
    assert objectives[1] == pytest.approx(objectives[0], abs=1e-4)
