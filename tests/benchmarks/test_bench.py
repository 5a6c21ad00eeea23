"""The benchmarks run, and measure what they say; how fast anything is, is no matter of a test."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.ours import NG, SGD, SGD_FULL, Ours, frames_needed, gemm_limit
from benchmarks.setting import DIM, FULL, QUICK, write_store
from benchmarks.targets import TARGETS, table
from benchmarks.timing import Spread, paired, put, ratio
from unisono.engines.place import Place

ROOT = Path(__file__).resolve().parents[2]
RATIOS = {"sgd_gemm_fraction", "sgd_full_gemm_fraction", "ng_gemm_fraction", "ng_over_sgd", "sgd_over_eager"}
RATIOS |= {"sgd_bf16_over_float32", "full_bf16_over_float32", "ng_bf16_over_float32"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path):
    write_store(tmp_path / "steps.h5", frames_needed(QUICK), QUICK.pdfs)
    return tmp_path / "steps.h5"


KEYS = {
    "rbm": {f"rbm_{form}gemm_fraction_{minibatch}" for form in ("", "plain_") for minibatch in (512, 100)},
    "lstm": {"lstm_over_torch", "lstm_ng_over_torch", "lstm_products_fraction"},
    "data": {"data_over_training", "data_frames_per_s"},
    "averaging": {"average_share", "observer_share", "average_s", "observer_s"},
    "memory": {"vector_copies", "vector_copies_jobs", "vector_copies_sync"},
    "kaldi": {"kaldi_float", "kaldi_cm", "kaldi_text", "kaldi_integers"},
    "jobs": {
        *(f"iteration_{name}_s" for name in ("start", "load", "write", "combine", "snakemake", "diagnose")),
        *("iteration_overhead_s", "iteration_overhead_cold_s", "iteration_overhead_spare_s", "torch_import_s"),
    },
}


def quick(part, out):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", part, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


def test_the_quick_form_writes_flat_keys_and_a_table(tmp_path):
    results, said = quick("steps", tmp_path / "results.json")
    assert RATIOS <= results.keys() and results["quick"] == 1 and results["cpu"] and results["torch"]
    assert all(isinstance(value, int | float | str) for value in results.values())
    for key in RATIOS:
        assert 0 < results[f"{key}_min"] <= results[key] <= results[f"{key}_max"] < math.inf
        assert any(line.startswith(f"{key} ") for line in said.splitlines())


def test_without_a_gpu_its_part_is_one_line_and_leaves_the_figures_of_others_alone(monkeypatch, tmp_path, capsys):
    from benchmarks.__main__ import main

    out = tmp_path / "results.json"
    out.write_text('{"cpu": "another", "sgd_gemm_fraction": 0.97}')
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "gpu", "--out", str(out)])
    with pytest.raises(SystemExit) as caught:
        main()
    (line,) = capsys.readouterr().out.splitlines()
    assert caught.value.code == 0 and line.startswith("gpu: skipped: no GPU is visible")
    assert json.loads(out.read_text())["sgd_gemm_fraction"] == 0.97


def test_figures_of_a_gpu_have_a_file_of_their_own_and_an_old_note_goes(monkeypatch, tmp_path, capsys):
    from benchmarks import __main__ as command
    from benchmarks import gpu

    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "results.json").write_text('{"sgd_gemm_fraction": 0.97}')
    (folder / "results-gpu.json").write_text(json.dumps(command.machine() | {"gpu_note": "skipped", "kept": 1}))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(gpu, "measure", lambda folder, size: {"gpu_small_frames": 7.0})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "gpu"])
    with pytest.raises(SystemExit):
        command.main()
    found = json.loads((folder / "results-gpu.json").read_text())
    assert found["gpu_small_frames"] == 7.0 and found["kept"] == 1 and "gpu_note" not in found
    assert json.loads((folder / "results.json").read_text()) == {"sgd_gemm_fraction": 0.97}


def test_the_gpu_part_forms_the_products_of_a_step_and_trains_it(store, monkeypatch, tmp_path):
    """Its own lines, on the CPU: the clock is CUDA's, so that is all that stands in."""
    from benchmarks import gpu

    class Event:
        def __init__(self, enable_timing):
            self.record = self.synchronize = lambda: None

        def elapsed_time(self, end):
            return 10.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "pretended")
    monkeypatch.setattr(gpu, "place_for", lambda device, index, precision: Place(torch.device("cpu"), True))
    monkeypatch.setattr(gpu, "NETWORKS", {"gpu_small": (4, QUICK.width, QUICK.pdfs, QUICK.minibatch)})
    monkeypatch.setattr(gpu, "WARM_UP", 1)
    monkeypatch.setattr(gpu, "STEPS", 4)
    monkeypatch.setattr(gpu, "BLOCKS", 2)
    results = gpu.measure(tmp_path, QUICK)
    assert results["gpu_small_bf16_ng_frames_per_s"] == 4 * QUICK.minibatch / 0.01
    assert results["gpu_small_bf16_gemm_fraction"] == 1.0 and results["gpu"] == "pretended"
    formed = gpu.products(4, QUICK.width, QUICK.pdfs, QUICK.minibatch, torch.device("cpu"))
    with Products() as step:
        Ours(store, QUICK, SGD).train(1)
    assert len(formed) == len(step.names) == 14


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    ["rbm", "lstm", "data", "jobs", *(pytest.param(part, marks=pytest.mark.mpi) for part in ("averaging", "memory"))],
)
def test_the_other_parts_run_and_leave_earlier_keys_alone(part, tmp_path):
    out = tmp_path / "results.json"
    results, _ = quick("data", out)
    before = results["data_frames_per_s"]
    results, _ = quick(part, out)
    assert KEYS[part] <= results.keys()
    assert all(0 < results[key] < math.inf for key in KEYS[part])
    assert part == "data" or results["data_frames_per_s"] == before


@pytest.mark.slow
@pytest.mark.mpi
def test_persistent_workers_end_where_spawned_ones_do(tmp_path):
    """Four ways of the same training, whose bytes it compares; parts add up to the time of an iteration."""
    words = ["--quick", "--workers", "2", "--periods", "500", "--iterations", "5", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.persistent", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "persistent.json").read_text())
    rows = {row["curve"]: row for row in found["rows"]}
    assert list(rows) == ["spawned", "jobs", "sync", "no_ahead"] and rows["spawned"]["cut"] == 0.0
    assert rows["sync"]["cut"] == 1.0 - rows["sync"]["seconds"] / rows["spawned"]["seconds"] > 0.5
    assert rows["spawned"]["start"] > rows["jobs"]["start"] > rows["sync"]["start"] == 0.0
    assert all(
        0.0 < row["compute"] < row["seconds"] and 0.0 < row["share"] <= row["share_best"] for row in rows.values()
    )
    assert (tmp_path / "persistent.csv").read_text().count("\n") == 5
    assert "<svg" in (tmp_path / "persistent.svg").read_text()


class Products(TorchDispatchMode):
    """Counts matrix products and their floating-point operations."""

    def __init__(self):
        super().__init__()
        self.names, self.operations = [], 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            a, b = args[-2:]
            self.names.append(func.overloadpacket)
            self.operations += 2.0 * a.shape[0] * a.shape[1] * b.shape[1]
        return func(*args, **(kwargs or {}))


def test_the_limit_is_the_14_products_of_a_step_on_its_own_buffers(store):
    ours = Ours(store, QUICK, SGD)
    with Products() as step:
        ours.train(1)
    products, operations = gemm_limit(ours.network, QUICK.minibatch)
    before = ours.worker.params.clone()
    with Products() as limit:
        products()
    assert limit.names == step.names and len(limit.names) == 14
    assert limit.operations == step.operations == operations
    assert torch.allclose(ours.worker.params, before, rtol=0, atol=1e-6), "measuring the limit disturbs training"


@pytest.mark.parametrize("optimiser", [SGD, SGD_FULL, NG], ids=["sgd", "full", "ng"])
def test_each_call_trains_as_many_minibatches_as_asked(store, optimiser):
    ours = Ours(store, QUICK, optimiser)
    before = ours.worker.params.clone()
    ours.train(3)
    ours.train(2)
    assert ours.worker.record is not None
    assert ours.worker.record.minibatches == 5 and ours.worker.record.frames == 5 * QUICK.minibatch
    assert not torch.equal(before, ours.worker.params)
    assert torch.isfinite(ours.worker.params).all()


def test_blocks_hold_each_variant_once_and_begin_with_another_each_time():
    calls = []
    seconds = paired({name: lambda name=name: calls.append(name) for name in "abc"}, 3)
    assert "".join(calls) == "abcbcacab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_of_one_block_each():
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Spread(2.0, 1.0, 3.0)


def test_table_says_what_is_missed():
    results = {}
    put(results, "ng_over_sgd", Spread(1.2, 1.1, 1.3))
    put(results, "sgd_gemm_fraction", Spread(0.96, 0.95, 0.99))
    lines = table(results, TARGETS).splitlines()
    assert [line.split()[-1] for line in lines if line.split()[0] in TARGETS] == ["met", "MISSED"]


def test_full_size_is_the_one_that_targets_are_for():
    assert (DIM * 11, FULL.width, FULL.pdfs, FULL.minibatch, FULL.period) == (440, 1024, 2000, 512, 10_000)
    assert FULL.blocks >= 15 and FULL.steps % 4 == 0 and FULL.warm_up >= 11
