"""The ordeal of the engine `jobs`: its workers, its combinations, and Snakemake itself.

Snakemake works in the folder, which holds links to what lies in the working directory. Seconds are those of
processes: what counts is the sum over all workers, what is lost the age of each that was killed.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from unisono.desk import snakemake, victims
from unisono.desk.ordeal import Fault, Ordeal, Prepared
from unisono.files import read_json

_RULES = ("train_job", "combine", "diagnose", "finish")
_COMMANDS = ("train-job", "combine", "diagnose")
_ENDS_S = 300.0  # Snakemake waits for the jobs beside the one that failed
_PARTS = ("start", "load", "compute", "write")


class Jobs(Ordeal):
    """One training under Snakemake. configs: files that are laid over each other, absolute."""

    def __init__(self, folder: Path, prepared: Prepared, configs: Sequence[str], cores: int) -> None:
        super().__init__(folder, prepared)
        self._configs, self._cores = configs, cores
        for path in Path.cwd().iterdir():
            if path.name not in ("results", ".snakemake"):
                (folder / path.name).symlink_to(path)
        for part in ("frames", "constants"):
            if (prepared.root / part).exists():
                shutil.copytree(prepared.root / part, folder / prepared.root / part, copy_function=os.link)
        ignored = shutil.ignore_patterns("[0-9]*", ".*", "models", "state", "decode", "final*", "metrics*")
        shutil.copytree(prepared.folder, folder / prepared.folder, ignore=ignored)

    @property
    def results(self) -> Path:
        """The run's folder as Snakemake makes it there."""
        return self.folder / self.prepared.folder

    def command(self) -> list[str]:
        """Return the command of Snakemake."""
        more = ["--directory", str(self.folder), "--nolock", "--quiet", "all", "--allowed-rules", *_RULES]
        return snakemake.command(self._configs, self._cores, [f"{self.prepared.folder}/final.safetensors"], more)

    def newest(self) -> tuple[int, float]:
        """Return the iteration that was combined last and when."""
        found = [
            (int(path.name.split(".")[0]), path.stat().st_mtime)
            for path in (self.results / "iterations").glob("[0-9]*.state.json")
        ]
        return max(found, default=(-1, 0.0))

    def choice(self, job: int) -> list[tuple[str, int]]:
        """Return Snakemake and the commands of training below it."""
        return [("snakemake", job), *((victims.command(pid), pid) for pid in _training(job))]

    def strike(self, job: "subprocess.Popen[bytes]", victim: tuple[str, int], begun: float) -> Fault:
        """Kill one command and let the others end; or Snakemake, and all with it."""
        gone = _training(job.pid) if victim[1] == job.pid else [victim[1]]
        lost_s = sum(map(victims.age_s, gone))
        victims.kill([victim[1], *gone])
        victims.end(job, _ENDS_S)
        return Fault(victim[0], self.newest()[0], lost_s)

    def finish(self) -> None:
        """Add up what the workers needed; Snakemake has made the results."""
        states = [read_json(self.results / f"iterations/{number}.state.json") for number in range(self.last + 1)]
        self.kept_s = sum(
            worker[f"seconds_{part}"] for state in states for worker in state["workers"] for part in _PARTS
        )
        self.kept_s += sum(state["seconds"].get("average") or 0.0 for state in states)


def _training(job: int) -> list[int]:
    return [pid for pid in victims.children(job) if victims.command(pid) in _COMMANDS]
