"""Programs that show the course of training: TensorBoard, MLflow, Weights & Biases.

A tracker takes one number after the other and writes files on this machine. None of the libraries is needed otherwise,
and nothing goes over a network: `wandb sync` is the user's own step.
"""

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from unisono.config.logging import LIBRARIES
from unisono.errors import UserError
from unisono.files import read_json

TAGS = ("objective_dev", "learning_rate", "frames_per_s", "rejected", "wer")
# No telemetry, no crash reports.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "WANDB_ERROR_REPORTING": "false"}


class Tracker(Protocol):
    """Takes the numbers of all runs of one folder of results."""

    def add(self, run: str, tag: str, value: float, iteration: int, when: float) -> None:
        """Take a number; when: seconds since 1970."""
        ...

    def flush(self) -> None:
        """Make what was taken visible."""
        ...

    def close(self) -> None:
        """Say that no more comes."""
        ...


def tracker(name: str, root: Path) -> Tracker:
    """Return the tracker `name` for `results/<name>`. Raises UserError where its library is not installed."""
    os.environ.update(QUIET)
    try:
        library = importlib.import_module(LIBRARIES[name])
    except ImportError:
        raise UserError(f"logging.{name}: {LIBRARIES[name]} is not installed: pip install {LIBRARIES[name]}") from None
    return TRACKERS[name](root, library)


class TensorBoard:
    """Event files. A process that starts writes them anew, as the files of training hold the whole course."""

    def __init__(self, root: Path, library: Any) -> None:
        self._root, self._make = root, library.SummaryWriter
        self._writers: dict[str, Any] = {}

    def add(self, run: str, tag: str, value: float, iteration: int, when: float) -> None:
        """Take a number."""
        if run not in self._writers:
            folder = self._root / "runs" / run / "tensorboard"
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink(missing_ok=True)
            self._writers[run] = self._make(logdir=str(folder))
        self._writers[run].add_scalar(tag, value, iteration, walltime=when)

    def flush(self) -> None:
        """Write what was taken."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()


class Mlflow:
    """A database of MLflow. A run that was interrupted goes on; one with other settings is another run."""

    def __init__(self, root: Path, library: Any) -> None:
        self._root, self._entities = root, importlib.import_module("mlflow.entities")
        self._client = library.MlflowClient(tracking_uri=f"sqlite:///{(root / 'mlflow.db').absolute()}")
        found = self._client.get_experiment_by_name(root.name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(root.name)
        self._runs: dict[str, str] = {}
        self._known: dict[str, set[tuple[str, int]]] = {}
        self._waiting: dict[str, list[Any]] = {}

    def add(self, run: str, tag: str, value: float, iteration: int, when: float) -> None:
        """Take a number."""
        if run not in self._runs:
            self._begin(run)
        if (tag, iteration) not in self._known[run]:
            metric = self._entities.Metric(tag, value, round(1000 * when), iteration)
            self._waiting.setdefault(run, []).append(metric)

    def _begin(self, run: str) -> None:
        settings = _settings(self._root, run)
        identity = _digest(settings)
        wanted = f"tags.unisono_run = '{run}' and tags.unisono_config = '{identity}'"
        found = self._client.search_runs([self._experiment], wanted)
        if found:
            key = found[0].info.run_id
            history = [metric for tag in TAGS for metric in self._client.get_metric_history(key, tag)]
        else:
            tags = {"unisono_run": run, "unisono_config": identity}
            key, history = self._client.create_run(self._experiment, run_name=run, tags=tags).info.run_id, []
            for name, value in settings.items():
                self._client.log_param(key, name, value)
        self._runs[run], self._known[run] = key, {(metric.key, metric.step) for metric in history}

    def flush(self) -> None:
        """Write what was taken."""
        for run, metrics in self._waiting.items():
            for first in range(0, len(metrics), 1000):  # the most that MLflow takes at once
                self._client.log_batch(self._runs[run], metrics=metrics[first : first + 1000])
        self._waiting.clear()

    def close(self) -> None:
        """Say that the runs are over."""
        self.flush()
        for key in self._runs.values():
            self._client.set_terminated(key)


class Wandb:
    """Offline runs of Weights & Biases. A process that starts writes them anew, but for those that were synced."""

    def __init__(self, root: Path, library: Any) -> None:
        self._root, self._library = root, library
        self._runs: dict[str, Any] = {}

    def add(self, run: str, tag: str, value: float, iteration: int, when: float) -> None:
        """Take a number. The axis is `iteration`, as objectives may come later than those of the next iterations."""
        if run not in self._runs:
            self._begin(run)
        self._runs[run].log({"iteration": iteration, tag: value, "time": when})

    def _begin(self, run: str) -> None:
        settings = _settings(self._root, run)
        key = _digest({**settings, "run": run})[:12]
        for old in self._root.glob(f"wandb/offline-run-*-{key}"):
            if not list(old.glob("*.synced")):
                shutil.rmtree(old, ignore_errors=True)
        # Nothing but what is written here: no console, code, hardware or statistics of the machine.
        plain = self._library.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True,
        )  # fmt: skip
        self._runs[run] = self._library.init(
            mode="offline", project=self._root.name, name=run, id=key, dir=str(self._root), config=settings,
            reinit="create_new", settings=plain,
        )  # fmt: skip
        self._runs[run].define_metric("*", step_metric="iteration")

    def flush(self) -> None:
        """Nothing: its own process writes."""

    def close(self) -> None:
        """Say that the runs are over."""
        for run in self._runs.values():
            run.finish()


TRACKERS: Mapping[str, Callable[[Path, Any], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": Mlflow,
    "wandb": Wandb,
}


def _settings(root: Path, run: str) -> dict[str, str]:
    """Return a run's settings as `section.key: value`, at most 250 characters each."""
    flat: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for key, below in value.items():
                walk(below, f"{path}.{key}" if path else str(key))
        else:
            flat[path] = (value if isinstance(value, str) else json.dumps(value))[:250]

    try:
        walk(read_json(root / "runs" / run / "config.json"), "")
    except UserError:
        return {}
    return flat


def _digest(settings: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
