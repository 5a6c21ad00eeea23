"""How many parameter vectors a worker's process holds: the slope of its peak memory over two sizes of model.

Both nets have two wide and two narrow hidden layers, in another order: the buffers of activations are as large in one
as in the other, so the slope is of parameter vectors alone.
"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import mpirun, python
from benchmarks.setting import Folder, Size, settings
from benchmarks.timing import Results

WORKERS, MINIBATCH, PERIOD = 2, 32, 128


def measure(folder: Path, size: Size) -> Results:
    """Return vector_copies, the larger of vector_copies_jobs (one train-job) and vector_copies_sync (one MPI rank)."""
    jobs, sync = [], []
    wide, narrow = size.widths
    for name, hidden in (("small", [wide, narrow, wide, narrow]), ("large", [narrow, narrow, wide, wide])):
        config = settings(
            size._replace(minibatch=MINIBATCH, period=PERIOD), network={"hidden": hidden},
            optimiser={"momentum": 0.9}, parallel={"carry_state": "carry"},
        )  # fmt: skip
        prepared = Folder(folder / name, config, WORKERS * PERIOD * 3, size.pdfs)
        jobs.append((prepared.vector_bytes, _peak(prepared, "jobs", _one_job)))
        sync.append((prepared.vector_bytes, _peak(prepared, "sync", _sync)))
    results: Results = {}
    for name, points in (("jobs", jobs), ("sync", sync)):
        (small, low), (large, high) = points
        results[f"vector_copies_{name}"] = round((high - low) / (large - small), 3)
    results["vector_copies"] = max(float(results["vector_copies_jobs"]), float(results["vector_copies_sync"]))
    return results


def _peak(prepared: Folder, name: str, run: Callable[[Folder, Path], None]) -> int:
    """Return the largest peak in bytes among the processes that `run` starts under `benchmarks.peak`."""
    found = prepared.path / f"peaks.{name}"
    found.mkdir()
    run(prepared, found)
    return max(int(path.read_text(encoding="ascii")) for path in found.iterdir())


def _sync(prepared: Folder, found: Path) -> None:
    mpirun(WORKERS, ["-m", "mpi4py", "-m", "benchmarks.peak", found, *prepared.train_sync()])


def _one_job(prepared: Folder, found: Path) -> None:
    """Measure worker 0 in iteration 1, which takes over a momentum; the rest of iteration 0 is only made."""
    for worker in range(WORKERS):
        python(["-m", "unisono", *_train_job(prepared, 0, worker)])
    python(["-m", "unisono", *_combine(prepared, 0)])
    python(["-m", "benchmarks.peak", found, *_train_job(prepared, 1, 0)])


def _train_job(prepared: Folder, iteration: int, worker: int) -> list[str]:
    before = "init" if iteration == 0 else str(iteration - 1)
    place, own = prepared.iterations, f"{iteration}.{worker}"
    carried = ["--worker-state", f"{place}/{before}.{worker}.state.safetensors"] if iteration else []
    return [
        "train-job", "--config", f"{prepared.path}/config.json", "--plan", f"{prepared.path}/plan.json",
        "--frames", f"{prepared.path}/train.h5", "--iteration", str(iteration), "--job", str(worker),
        "--combined", f"{place}/{before}.combine.safetensors", "--state", f"{place}/{before}.state.json", *carried,
        "--out-model", f"{place}/{own}.model.safetensors", "--out-state", f"{place}/{own}.state.safetensors",
        "--out-stats", f"{place}/{own}.json",
    ]  # fmt: skip


def _combine(prepared: Folder, iteration: int) -> list[str]:
    before = "init" if iteration == 0 else str(iteration - 1)
    place = prepared.iterations

    def of_workers(name: str) -> list[str]:
        return [f"{place}/{iteration}.{worker}.{name}" for worker in range(WORKERS)]

    return [
        "combine", "--config", f"{prepared.path}/config.json", "--plan", f"{prepared.path}/plan.json",
        "--frames-train", f"{prepared.path}/train.h5", "--frames-dev", f"{prepared.path}/dev.h5",
        "--iteration", str(iteration), "--combined", f"{place}/{before}.combine.safetensors",
        "--state", f"{place}/{before}.state.json", "--models", *of_workers("model.safetensors"),
        "--worker-states", *of_workers("state.safetensors"), "--stats", *of_workers("json"),
        "--out", f"{place}/{iteration}.combine.safetensors", "--out-state", f"{place}/{iteration}.state.json",
    ]  # fmt: skip
