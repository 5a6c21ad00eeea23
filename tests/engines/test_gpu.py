"""On a GPU: agreement with the CPU within the tolerances that stand here. Where there is none, all is skipped."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from tests.support import scoring
from tests.support.miniature import LIMIT, TENANTS, Interrupted, Task, config
from tests.support.pretraining import layers
from tests.support.pretraining import settings as stacked
from unisono.core import flat
from unisono.core.products import Products, allow_tf32
from unisono.data.frames.loader import Slice
from unisono.data.frames.window import load_window
from unisono.engines.initial import initial_parameters
from unisono.engines.place import CPU, place_for
from unisono.engines.replay import Replay
from unisono.engines.worker import Task as Work
from unisono.engines.worker import Worker
from unisono.nn.batch import Batch
from unisono.nn.model_file import load_model

pytestmark = pytest.mark.gpu
WORK = Work(2, 1, 1, Slice(1, -1, 64, 960), 32, 0.004, 1.0, 0, 2)  # 28 minibatches
# Largest distance between the ends, over the way that the CPU went.
FLOAT32, SHORT, REPEATED = 2e-3, 0.1, 1e-5
CHANCE = 0.1  # of the reconstruction error of an RBM's slice, between two ways to draw


@pytest.fixture
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    yield place_for("cuda", 0, "float32")
    allow_tf32("float32")


def loader_on(task, place, keep=False):
    session = task.session
    session.place = place
    return session.loader(keep=keep)


def worker_on(task, place, capture=True):
    worker = Worker(1, task.network, task.network.updater(task.run.optimiser), 3, place)
    if not capture:
        worker._replay = Replay(worker.optimiser.skip, None)
    worker.params.copy_(initial_parameters(task.session))
    return worker


def train(task, place, keep=False, **options):
    """Return the worker, the way its parameters went, and its stats."""
    worker = worker_on(task, place, **options)
    begun = worker.params.clone()
    with loader_on(task, place, keep=keep) as loader:
        stats = worker.run(WORK, loader)
    return worker, worker.params - begun, stats


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_pnorm_agrees_with_the_cpu_and_graphs_are_its_eager_steps(tmp_path, gpu, kind, dropout):
    task = Task(tmp_path, config(**TENANTS["pnorm"], optimiser__kind=kind, network__dropout=dropout))
    _, found, stats = train(task, gpu)
    _, eager, said = train(task, gpu, capture=False)
    assert distance(found, eager) < REPEATED and stats.objective_sum == pytest.approx(said.objective_sum, rel=1e-6)
    if not dropout:  # whose masks a GPU draws otherwise
        assert distance(found, train(task, CPU)[1]) < FLOAT32


@pytest.mark.parametrize("nonlinearity", ["relu", "relu_renorm", "sigmoid", "tanh"])
@pytest.mark.parametrize("limit", ["none", "nnet3", "nnet2"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online", "ng_simple"])
def test_it_agrees_with_the_cpu(tmp_path, gpu, kind, limit, nonlinearity):
    changes = {"kind": kind, "max_change__kind": limit, "max_change__per_layer": 0.02}
    settings = config(**{f"optimiser__{k}": v for k, v in changes.items()}, network__nonlinearity=nonlinearity)
    task = Task(tmp_path, settings)
    _, wanted, said = train(task, CPU)
    worker, found, stats = train(task, gpu)
    assert worker.params.device.type == "cpu" and worker.params.is_pinned()
    assert distance(found, wanted) < FLOAT32
    assert stats.objective_sum == pytest.approx(said.objective_sum, rel=1e-4)
    assert abs(stats.correct - said.correct) <= 0.01 * said.frames
    assert abs(stats.limited - said.limited) <= 1  # a step may lie at the limit itself
    assert stats.device == torch.cuda.get_device_name(0) and stats.finite and stats.complete


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_shorter_products_stay_near(tmp_path, gpu, kind, precision):
    settings = config(optimiser__kind=kind)
    _, wanted, _ = train(Task(tmp_path / "a", settings), CPU)
    place = place_for("cuda", 0, precision)
    _, found, _ = train(Task(tmp_path / "b", settings | {"precision": precision}), place)
    assert 0.0 < distance(found, wanted) < SHORT


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(("rows", "columns", "outputs"), [(96, 65, 48), (33, 18, 21), (64, 49, 9)])
def test_products_are_those_of_the_cpu(gpu, precision, rows, columns, outputs):
    """Also where no size is a multiple of 16, and what pads a target stays zero."""
    generator = torch.Generator().manual_seed(1)
    shapes = (rows, columns), (outputs, columns), (rows, outputs), (rows, outputs), (rows, columns), (outputs, columns)
    ends = []
    for device in ("cpu", gpu.device):
        x, weight, error, out, below, target = (flat.matrix(*shape, torch.empty(0, device=device)) for shape in shapes)
        generator.manual_seed(1)
        for matrix in (x, weight, error, target):
            matrix.copy_(torch.randn(matrix.shape, generator=generator))
        made = Products(precision)
        made.begin()
        made.forward(x, weight, out)
        made.backward(error, weight, below[:, :-1])
        made.add_step_(target, x, error, 0.1)
        x.mul_(0.5)
        made.changed(x)
        made.add_step_(target, x, error, torch.tensor(0.2, dtype=torch.float64, device=device))
        ends.append((out, below, target))
    for found, wanted in zip(ends[1], ends[0], strict=True):
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-5, atol=1e-4)
    assert not flat.whole(ends[1][2])[:, columns:].any()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", ["sgd", "ng_online"])
def test_graphs_are_the_eager_steps(tmp_path, gpu, kind, precision, dropout):
    changes = {"optimiser__kind": kind, "optimiser__max_change": LIMIT, "network__dropout": dropout}
    task = Task(tmp_path, config(**changes) | {"precision": precision})
    eager, wanted, said = train(task, gpu, capture=False)
    replayed, found, stats = train(task, gpu)
    assert replayed._replay._captured is not None and eager._replay._captured is None
    assert distance(found, wanted) < REPEATED
    assert stats.objective_sum == pytest.approx(said.objective_sum, rel=1e-6) and stats.frames == said.frames
    assert abs(stats.limited - said.limited) <= 1
    states = eager.optimiser.state(), replayed.optimiser.state()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0] if k.endswith(".t")), "each step is counted"


@pytest.mark.parametrize("visible", ["probabilities", "sample"])
@pytest.mark.parametrize("number", [1, 2])
def test_graphs_of_an_rbm_are_its_eager_steps(tmp_path, gpu, number, visible):
    """Along its ramp, and in another iteration. A GPU draws otherwise than a CPU: of these only objectives are near."""
    task = layers(tmp_path, stacked(visible=visible), lambda task: task.virtual())[number - 1]
    work = WORK._replace(rate=task.run.optimiser.learning_rate)
    ends = []
    for place, capture in ((gpu, True), (gpu, False), (CPU, False)):
        worker = worker_on(task, place, capture)
        begun = worker.params.clone()
        with loader_on(task, place) as loader:
            stats = [worker.run(work._replace(iteration=2 + i, seen=900 * i), loader) for i in range(2)]
        ends.append((worker.params - begun, [record.objective_sum for record in stats], worker))
    (found, sums, replayed), (wanted, others, _), (_, plain, _) = ends
    assert replayed._replay._captured is not None
    assert distance(found, wanted) < REPEATED and sums == pytest.approx(others, rel=1e-6)
    assert sums == pytest.approx(plain, rel=CHANCE)


@pytest.mark.parametrize("changes", [{}, {"optimiser__kind": "ng_online"}, {"network__dropout": 0.3}])
def test_a_graph_sees_another_rate_and_another_start(tmp_path, gpu, changes):
    """And another seed of the dropout's generator."""
    task = Task(tmp_path, config(**changes))
    one, other = worker_on(task, gpu), worker_on(task, gpu, capture=False)
    with loader_on(task, gpu, keep=True) as loader:
        for worker in (one, other):
            worker.run(WORK, loader)
            worker.params.mul_(0.5)
            worker.run(WORK._replace(iteration=3, rate=0.001), loader)
    assert distance(one.params, other.params) < REPEATED


@pytest.mark.parametrize("changes", [{}, {"optimiser__kind": "ng_online"}, {"network__dropout": 0.3}])
def test_stopped_saved_and_restored_it_ends_at_the_same_place(tmp_path, gpu, changes):
    task = Task(tmp_path, config(**changes))
    whole, wanted, said = train(task, gpu)
    broken, other = worker_on(task, gpu), worker_on(task, gpu)
    begun = broken.params.clone()
    with loader_on(task, gpu) as loader:
        assert not broken.run(WORK, loader, Interrupted(13)).complete
        other.params.fill_(7.0)
        other.restore(broken.save())
        stats = other.run(WORK, loader)
    assert stats.complete and distance(other.params - begun, wanted) < REPEATED
    assert stats.objective_sum == pytest.approx(said.objective_sum, rel=1e-6)
    # What a GPU leaves behind, a CPU can go on from.
    own = worker_on(task, CPU)
    own.restore(whole.save())
    with task.session.loader() as loader:
        assert own.run(WORK._replace(iteration=3), loader).finite


def test_data_on_the_card_and_fetched_are_the_same(tmp_path, gpu):
    task = Task(tmp_path, config())
    kept = gpu.resident(task.train, task.network.unit)
    assert kept is not None and kept._rows.is_cuda
    with task.session.loader() as loader:
        order = loader.order(0, -1)
    width = task.network.unit.frames * task.train.dim
    for number in order.windows(0, len(order)):
        begin, end = order.span(number)
        found = []
        fetched = load_window(task.train, order, number, task.network.unit)
        for window, device in (
            (kept.window(order, number), gpu.device),
            (fetched.pinned(), gpu.device),
            (fetched, "cpu"),
        ):
            x = torch.empty(end - begin, 1, width, device=device)
            ids = torch.empty(end - begin, 1, dtype=torch.int64, device=device)
            assert window.gather(0, end - begin, Batch(x, ids, None)) == end - begin
            found.append((x.cpu(), ids.cpu()))
        assert all(torch.equal(x, found[0][0]) and torch.equal(ids, found[0][1]) for x, ids in found)
    assert distance(train(task, gpu, keep=True)[1], train(task, gpu, keep=False)[1]) < REPEATED


def test_a_worker_that_blew_up_does_not_spoil_the_next(tmp_path, gpu):
    task = Task(tmp_path, config(optimiser__kind="ng_online"))
    worker = worker_on(task, gpu)
    start = worker.params.clone()
    with loader_on(task, gpu) as loader:
        assert not worker.run(WORK._replace(rate=1e30), loader).finite
        worker.params.copy_(start)
        worker.forget()
        assert worker.run(WORK._replace(iteration=3), loader).finite


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("tenant", ["", *TENANTS])
def test_what_a_network_says_of_utterances_agrees_with_the_cpu(tmp_path, gpu, tenant, processes):
    """In a Python of its own: with several processes each starts CUDA for itself, which the one that forks has not."""
    scoring.write_model(tmp_path / "model", tenant)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as python:
        found = python.submit(scoring.scores, tmp_path / "model", "cuda", processes).result(timeout=120)
    for one, wanted in zip(found, scoring.scores(tmp_path / "model", "cpu"), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-4)


def test_a_models_end_is_that_of_the_cpu(tmp_path, gpu):
    """Rule finish: mean posteriors, and the best combination of models."""
    changes = {"prior": "posteriors", "combined": {"models": 3, "frames": 200}}
    plain, fast = (Task(tmp_path / name, config(final_model="combined") | changes) for name in ("cpu", "gpu"))
    plain.virtual()
    fast.virtual(place=gpu)
    for name in ("last", "combined"):
        wanted, found = (load_model(task.folder / "models" / f"{name}.safetensors") for task in (plain, fast))
        assert distance(found.flat, wanted.flat) < FLOAT32
        torch.testing.assert_close(found.log_prior, wanted.log_prior, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("tenant", ["", *TENANTS])
def test_a_whole_run_ends_where_that_of_the_cpu_does(tmp_path, gpu, tenant):
    changes = {"optimiser__kind": "ng_online", "parallel__combine": "bmuf", "parallel__workers": 3}
    settings = config(**changes | TENANTS.get(tenant, {}))
    plain, fast = Task(tmp_path / "cpu", settings), Task(tmp_path / "gpu", settings)
    plain.virtual()
    fast.virtual(place=gpu)
    ends = [plain.facts(), fast.facts()]
    assert ends[0]["devices"] == ["cpu"] and ends[1]["devices"] == [torch.cuda.get_device_name(0)]
    assert ends[0]["config"] == ends[1]["config"]
    objectives = [end["candidates"]["last"]["objective_dev"] for end in ends]
    assert objectives[1] == pytest.approx(objectives[0], abs=0.02)
