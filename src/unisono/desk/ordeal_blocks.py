"""The ordeal of an engine that trains many iterations in one command: its process, or its ranks and their launcher.

Seconds are those of the clock, from when the newest process began to train, which is when it took the run's lease.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.config.build import complete
from unisono.desk import snakemake, victims
from unisono.desk.ordeal import Fault, Ordeal, Prepared
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import worker_range

_ENDS_S = 10.0  # a job of ranks, one of which has died


class Blocks(Ordeal):
    """One training in one command."""

    def __init__(
        self, folder: Path, prepared: Prepared, engine: str, arrival: Mapping[str, Any] | None = None,
        checkpoint_s: float = 0.0,
    ) -> None:  # fmt: skip
        """arrival: another than the run's, as config key `parallel.arrival`; checkpoint_s: 0: after each iteration."""
        super().__init__(folder, prepared)
        self._engine, self._checkpoint_s = engine, checkpoint_s
        ignored = shutil.ignore_patterns("[0-9]*", ".*", "progress.jsonl", "arrivals.jsonl")
        shutil.copytree(prepared.folder / "iterations", folder / "iterations", ignore=ignored)
        config = complete(prepared.run, execution=False)
        if arrival is not None:
            config["parallel"]["arrival"] = dict(arrival)
        write_json(folder / "config.json", config)

    @property
    def results(self) -> Path:
        """The folder itself."""
        return self.folder

    @property
    def log(self) -> Path:
        """The order of arrivals of a run with a server."""
        return self.folder / "iterations" / "arrivals.jsonl"

    def command(self) -> list[str]:
        """Return the command of the engine."""
        train = [
            "-m", "unisono", "train", "--engine", self._engine, *self._files(), "--first", "0",
            "--last", str(self.last), "--state-dir", f"{self.folder}/state", "--device", "cpu",
            "--checkpoint-s", str(self._checkpoint_s),
        ]  # fmt: skip
        if self._engine == "virtual":
            return [sys.executable, *train]
        workers = worker_range(self.prepared.run.parallel.workers)[1]
        ranks = str(workers + (self._engine == "async"))
        return [sys.executable, "-m", "unisono.launch", "mpirun", ranks, sys.executable, "-m", "mpi4py", *train]

    def _files(self) -> list[str]:
        root, run = self.prepared.root, self.prepared.folder
        constants = [str(root / path) for path in self.prepared.constants]
        return [
            "--config", f"{self.folder}/config.json", "--plan", f"{run}/plan.json",
            "--frames-train", f"{root}/frames/train.h5", "--frames-dev", f"{root}/frames/dev.h5",
            "--constants", *constants, "--iterations-dir", f"{self.folder}/iterations",
            "--threads", str(self.prepared.threads),
        ]  # fmt: skip

    def newest(self) -> tuple[int, float]:
        """Return the iteration of the newest checkpoint and when it was made."""
        for path in sorted(self.folder.glob("state/*/ckpt-*"), reverse=True):
            with contextlib.suppress(UserError, OSError, KeyError):
                return int(read_json(path / "manifest.json")["iteration"]), path.stat().st_ctime
        return -1, 0.0

    def choice(self, job: int) -> list[tuple[str, int]]:
        """Return the ranks and their launcher, or the one process."""
        ranks = [(f"rank {rank}", pid) for pid in victims.children(job) if (rank := victims.rank(pid)) is not None]
        return [("process" if self._engine == "virtual" else "launcher", job), *ranks]

    def strike(self, job: "subprocess.Popen[bytes]", victim: tuple[str, int], begun: float) -> Fault:
        """Kill one; what was trained since the newest checkpoint is lost."""
        victims.kill([victim[1]])
        killed = time.time()
        victims.end(job, _ENDS_S)
        after, saved = self.newest()
        begins = self._begins(begun)
        self.kept_s += max(0.0, saved - begins)
        return Fault(victim[0], after, max(0.0, killed - max(saved, begins)))

    def _begins(self, begun: float) -> float:
        return max([begun, *(path.stat().st_mtime for path in self.folder.glob("state/*/lease-*"))])

    def finish(self) -> None:
        """Make the results as the workflow does."""
        self.kept_s += max(0.0, self.newest()[1] - self._begins(0.0))
        folder = self.folder
        words = [
            "-m", "unisono", "finish", *self._files(), "--engine", self._engine,
            "--combined", f"{folder}/iterations/{self.last}.combine.safetensors", "--models-dir", f"{folder}/models",
            "--out", f"{folder}/final.safetensors", "--out-info", f"{folder}/final.json",
            "--ledger", f"{folder}/ledger.json",
        ]  # fmt: skip
        if subprocess.run([sys.executable, *words], env=snakemake.environment(), check=False).returncode:
            raise UserError(f"{folder}: the results could not be made: it says why above")
