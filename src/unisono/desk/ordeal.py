"""A training whose processes are killed at seeded moments until it ends, in a folder of its own; abstract.

What is killed, and what that costs, is for the engines to say: `desk/ordeal_blocks.py` and `desk/ordeal_jobs.py`.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from unisono.config.run import Run
from unisono.desk import snakemake, victims
from unisono.errors import UserError
from unisono.files import read_json
from unisono.schedule import read_plan

_LOOK_S, _SILENT_S, _LONGEST_S = 0.002, 600.0, 30.0


class Prepared(NamedTuple):
    """What a training starts from. root: results/NAME; run: the settings of the run `name`."""

    root: Path
    name: str
    run: Run
    threads: int
    constants: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.root / "runs" / self.name


class Fault(NamedTuple):
    """A kill: whom, after which iteration was saved, and the seconds of training that must be done again."""

    victim: str
    after: int
    lost_s: float


def ahead(targets: Sequence[int], missing: int, left: range, chance: random.Random) -> list[int]:
    """Return after which of the iterations that are left to kill: those drawn, and others for those that went by."""
    drawn = [target for target in targets if target in left][:missing]
    free = sorted({*left} - {*drawn})
    return sorted(drawn + chance.sample(free, min(len(free), missing - len(drawn))))


class Ordeal(ABC):
    """One training in a folder of its own. kept_s: seconds of training that count."""

    def __init__(self, folder: Path, prepared: Prepared) -> None:
        self.folder, self.prepared, self.kept_s = folder, prepared, 0.0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.last = len(read_plan(str(prepared.folder / "plan.json")).iterations) - 1

    @property
    @abstractmethod
    def results(self) -> Path:
        """The folder of final.safetensors, final.json, ledger.json."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that trains or resumes."""

    @abstractmethod
    def newest(self) -> tuple[int, float]:
        """Return the iteration that was saved last and when; -1 and 0 where there is none."""

    @abstractmethod
    def choice(self, job: int) -> list[tuple[str, int]]:
        """Return which processes of a job may be killed: what they are, and their numbers."""

    @abstractmethod
    def strike(self, job: "subprocess.Popen[bytes]", victim: tuple[str, int], begun: float) -> Fault:
        """Kill a process of a job that began at a time, and see to the end of the others."""

    @abstractmethod
    def finish(self) -> None:
        """Make the results, and add up what counts."""

    def frames_lost(self) -> int:
        """Return the frames that the plan deals in the iterations that ran, without those that workers read."""
        plan, ledger = read_plan(str(self.prepared.folder / "plan.json")), read_json(self.results / "ledger.json")
        units = sum(end - begin for it in plan.iterations[: ledger["iterations"]] for begin, end in it.slices)
        read = sum(worker["seen"] + worker["discarded"] for worker in ledger["workers"].values())
        return units * plan.frames // plan.units - read

    def model(self) -> bytes:
        """Return the bytes of the final model."""
        return (self.results / "final.safetensors").read_bytes()

    def under_fire(self, faults: int, chance: random.Random) -> list[Fault]:
        """Train to the end, and kill so many processes on the way, each somewhere after another iteration."""
        if faults > self.last:
            raise UserError(
                f"--faults: {faults}: the run has only {self.last + 1} iterations: lower it, or raise these"
            )
        targets: Sequence[int] = []
        found: list[Fault] = []
        while True:
            with self._started() as job:
                begun, stands = time.time(), self.newest()[0]
                targets = ahead(targets, faults - len(found), range(stands + 1, self.last), chance)
                if not targets or not self._await(job, targets[0], begun, chance):
                    self._check_end(job)
                    self.finish()
                    return found
                found.append(self.strike(job, chance.choice(self.choice(job.pid)), begun))

    def train(self) -> None:
        """Train to the end, left alone."""
        with self._started() as job:
            self._check_end(job)
        self.finish()

    def _await(self, job: "subprocess.Popen[bytes]", target: int, begun: float, chance: random.Random) -> bool:
        """Wait for the end of an iteration and a part of the next; False where the job ends before."""
        previous = begun
        while (newest := self.newest())[0] < target:
            if job.poll() is not None:
                return False
            if time.time() > max(previous, begun) + _SILENT_S:
                raise UserError(f"{self.folder}: nothing was saved for {_SILENT_S:.0f} s: see train.log there")
            previous = newest[1] or previous
            time.sleep(_LOOK_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=chance.uniform(0.0, max(0.0, min(_LONGEST_S, newest[1] - previous))))
        return job.poll() is None

    def _check_end(self, job: "subprocess.Popen[bytes]") -> None:
        if job.wait():
            raise UserError(f"{self.folder}: training failed: {self.folder}/train.log says why")

    @contextlib.contextmanager
    def _started(self) -> "Iterator[subprocess.Popen[bytes]]":
        """Start the training; whatever is left of it at the end is killed."""
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environ = {**snakemake.environment(), "PATH": beside}
        with open(self.folder / "train.log", "ab") as log:
            job = subprocess.Popen(self.command(), env=environ, stdout=log, stderr=log, start_new_session=True)
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            yield job
        finally:
            victims.end(job, 0.0)
            signal.signal(signal.SIGTERM, before)
