"""Chaos: a training whose processes are killed at seeded moments, and the certificate of what that cost.

Three trainings of one run, each in a folder of its own below results/NAME/chaos/RUN: `killed`, whose processes are
killed; `whole`, left alone, which must end at the same bytes; with engine `async`, whose order of arrivals is its own,
`whole` is the replay of `killed`'s log. `certificate.json`:

| key | meaning |
|---|---|
| format, engine, workers, seed, cpu | `unisono.chaos/1`; what was trained |
| faults | each kill: victim (`rank 0`, ..., `launcher`; `process` of virtual), after which iteration, lost_s |
| intervals | checkpoint intervals of the training: one for each iteration |
| kept_s, lost_s, share_kept | seconds of training that count, that had to be done again; 1 - lost_s / kept_s |
| frames_lost | frames of the corpus that no worker has trained on |
| equal | whether the final model has the bytes that it must have, by `bytes` or `replay` (compared_by) |
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unisono.config.build import complete
from unisono.config.run import Run
from unisono.desk import snakemake, victims
from unisono.desk.settings import changed, read_settings
from unisono.errors import UserError
from unisono.files import read_json, write_json
from unisono.schedule import read_plan, worker_range

FORMAT = "unisono.chaos/1"
_LOOK_S, _SILENT_S = 0.002, 600.0


class Fault(NamedTuple):
    """A kill; see the table above."""

    victim: str
    after: int
    lost_s: float


def certify(words: Sequence[str], name: str | None, faults: int, seed: int) -> int:
    """Train under chaos, write and print the certificate; return 0 where nothing was lost, else 1."""
    configs, changes = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    settings = read_settings(configs, changes)
    if name is None and len(settings.runs) > 1:
        raise UserError(f"--run: the config has several: {', '.join(settings.runs)}: name one")
    name = name or next(iter(settings.runs))
    if name not in settings.runs:
        raise UserError(f"--run: {name}: no run of the config: it has {', '.join(settings.runs)}")
    run, root = settings.runs[name], Path("results", settings.shared.name)
    if run.parallel.engine == "jobs":
        raise UserError("parallel.engine: jobs has no processes that live on: choose virtual, sync or async")
    folder = root / "chaos" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _prepare(configs, changes, root, name, folder)
    training = Training(folder / "killed", run, root, name)
    if faults > training.last:
        raise UserError(
            f"--faults: {faults}: the run has only {training.last + 1} iterations: lower it, or raise these"
        )
    done = training.under_fire(faults, random.Random(seed))
    whole = Training(folder / "whole", run, root, name, replays=training if run.parallel.engine == "async" else None)
    whole.train()
    certificate = {"seed": seed} | _certificate(training, whole, done, run)
    write_json(folder / "certificate.json", certificate)
    equal = f"{'equal' if certificate['equal'] else 'DIFFERENT'} by {certificate['compared_by']}"
    print(
        f"{len(done)} kills in {certificate['intervals']} checkpoint intervals survived:"
        f" {certificate['share_kept']:.1%}"
        f" of the training kept, {certificate['frames_lost']} frames lost, final model {equal}\n"
        f"{folder}/certificate.json"
    )
    return 0 if certificate["equal"] and certificate["frames_lost"] == 0 else 1


def _certificate(training: "Training", whole: "Training", faults: Sequence[Fault], run: Run) -> dict[str, Any]:
    """Return what the certificate says."""
    models = [one.finish() for one in (training, whole)]
    kept_s, lost_s = training.kept_s, sum(fault.lost_s for fault in faults)
    ledger = read_json(training.folder / "ledger.json")
    read = sum(worker["seen"] + worker["discarded"] for worker in ledger["workers"].values())
    return {
        "format": FORMAT, "engine": run.parallel.engine, "workers": worker_range(run.parallel.workers)[1],
        "cpu": read_json(training.folder / "final.json")["cpu"], "intervals": training.last + 1,
        "faults": [fault._asdict() for fault in faults], "kept_s": kept_s, "lost_s": lost_s,
        "share_kept": 1.0 - lost_s / kept_s, "frames_lost": training.frames() - read,
        "compared_by": "replay" if run.parallel.engine == "async" else "bytes", "equal": models[0] == models[1],
    }  # fmt: skip


def _prepare(configs: Sequence[str], changes: Sequence[str], root: Path, name: str, folder: Path) -> None:
    """Let the workflow make frames, plan and first model."""
    files = list(configs)
    if changes:
        files.append(str(folder / "changes.json"))
        write_json(files[-1], changed(changes))
    made = [root / f"runs/{name}" / file for file in ("config.json", "plan.json", "iterations/init.state.json")]
    line = snakemake.command(files, len(os.sched_getaffinity(0)), [str(path) for path in made], ["--quiet", "all"])
    if snakemake.show(line):
        raise UserError(f"{made[-1]}: snakemake could not make it: it says why above")


class Training:
    """One training of a run in a folder of its own."""

    def __init__(self, folder: Path, run: Run, root: Path, name: str, replays: "Training | None" = None) -> None:
        """Copy what it starts from. replays: the training of engine async whose log it follows."""
        self.folder, self._run, self._frames = folder, run, root / "frames"
        made = root / "runs" / name
        shutil.copytree(made / "iterations", folder / "iterations", ignore=shutil.ignore_patterns("[0-9]*", ".*"))
        for file in ("config.json", "plan.json"):
            shutil.copy(made / file, folder / file)
        self._engine = run.parallel.engine if replays is None else "virtual"
        if replays is not None:
            config = complete(run, execution=False)
            path = str(replays.folder / "iterations" / "arrivals.jsonl")
            write_json(
                folder / "config.json",
                config | {"parallel": config["parallel"] | {"arrival": {"kind": "log", "path": path}}},
            )
        self.last = len(read_plan(str(folder / "plan.json")).iterations) - 1
        self.kept_s = 0.0

    def frames(self) -> int:
        """Return the frames that the plan deals in the iterations that ran."""
        plan, ran = read_plan(str(self.folder / "plan.json")), read_json(self.folder / "ledger.json")["iterations"]
        units = sum(end - begin for iteration in plan.iterations[:ran] for begin, end in iteration.slices)
        return units * plan.frames // plan.units

    def train(self) -> None:
        """Train to the end, left alone. Raises UserError where that fails."""
        with self._started() as job:
            if job.wait():
                raise UserError(f"{self.folder}: training failed: {self.folder}/train.log says why")

    def under_fire(self, faults: int, chance: random.Random) -> list[Fault]:
        """Train to the end; kill so many processes, each somewhere after another iteration."""
        targets, found = sorted(chance.sample(range(self.last), faults)), []
        while True:
            with self._started() as job:
                begun, stands = time.time(), self._newest()[0]
                target = next((one for one in targets if one > stands), None)
                struck = target is not None and self._strike(job, target, begun, chance, found)
                if not struck:
                    if job.wait() and len(found) < faults:
                        raise UserError(f"{self.folder}: training failed: {self.folder}/train.log says why")
                    self.kept_s += self._newest()[1] - self._begins(begun)
                    return found
                targets = [one for one in targets if one > found[-1].after]

    def _strike(
        self, job: "subprocess.Popen[bytes]", target: int, begun: float, chance: random.Random, found: list[Fault]
    ) -> bool:
        """Kill a process of the job after an iteration; False where the job ended before."""
        previous, deadline = begun, time.time() + _SILENT_S
        while (newest := self._newest())[0] < target:
            if job.poll() is not None or time.time() > deadline:
                return False
            previous = newest[1] or previous
            time.sleep(_LOOK_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=chance.uniform(0.0, max(0.0, min(30.0, newest[1] - previous))))
        if job.poll() is not None:
            return False
        choice, everybody = victims.victims(job.pid), victims.children(job.pid)
        victim, pid = chance.choice(choice)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        killed = time.time()
        victims.end(job, everybody)
        after, at = self._newest()
        begins = self._begins(begun)
        self.kept_s += max(0.0, at - begins)
        found.append(Fault(victim, after, max(0.0, killed - max(at, begins))))
        return True

    def _begins(self, started: float) -> float:
        """Return when the newest process began to train: when it had taken the run's lease."""
        leases = [path.stat().st_mtime for path in self.folder.glob("state/*/lease-*")]
        return max([started, *leases])

    def _newest(self) -> tuple[int, float]:
        """Return the iteration of the newest checkpoint and when it was made; -1 and 0 where there is none."""
        for path in sorted(self.folder.glob("state/*/ckpt-*"), reverse=True):
            with contextlib.suppress(UserError, OSError, KeyError):
                return int(read_json(path / "manifest.json")["iteration"]), path.stat().st_ctime
        return -1, 0.0

    @contextlib.contextmanager
    def _started(self) -> Any:
        """Start the training; whatever is left of it at the end is killed."""
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environ = {**snakemake.environment(), "PATH": beside}
        with open(self.folder / "train.log", "ab") as log:
            job = subprocess.Popen(self._command(), env=environ, stdout=log, stderr=log, start_new_session=True)
            try:
                yield job
            finally:
                victims.end(job)

    def _command(self) -> list[str]:
        folder, workers = self.folder, worker_range(self._run.parallel.workers)[1]
        train = [
            "-m", "unisono", "train", "--engine", self._engine, "--config", f"{folder}/config.json",
            "--plan", f"{folder}/plan.json", "--frames-train", f"{self._frames}/train.h5",
            "--frames-dev", f"{self._frames}/dev.h5", "--first", "0", "--last", str(self.last),
            "--iterations-dir", f"{folder}/iterations", "--state-dir", f"{folder}/state", "--checkpoint-s", "0",
            "--device", "cpu",
        ]  # fmt: skip
        if self._engine == "virtual":
            return [sys.executable, *train]
        ranks = str(workers + (self._engine == "async"))
        return [sys.executable, "-m", "unisono.launch", "mpirun", ranks, sys.executable, "-m", "mpi4py", *train]

    def finish(self) -> bytes:
        """Make the results of the training and return its final model."""
        folder = self.folder
        words = [
            "finish", "--config", f"{folder}/config.json", "--plan", f"{folder}/plan.json",
            "--frames-train", f"{self._frames}/train.h5", "--frames-dev", f"{self._frames}/dev.h5",
            "--combined", f"{folder}/iterations/{self.last}.combine.safetensors",
            "--iterations-dir", f"{folder}/iterations", "--models-dir", f"{folder}/models",
            "--out", f"{folder}/final.safetensors", "--out-info", f"{folder}/final.json", "--engine", self._engine,
            "--ledger", f"{folder}/ledger.json",
        ]  # fmt: skip
        command = [sys.executable, "-m", "unisono", *words]
        if subprocess.run(command, env=snakemake.environment(), check=False).returncode:
            raise UserError(f"{folder}: the results could not be made: it says why above")
        return (folder / "final.safetensors").read_bytes()
