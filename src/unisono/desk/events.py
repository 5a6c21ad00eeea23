"""The course of training for other programs, from the files that training leaves, while it runs or afterwards."""

from collections.abc import Sequence
from pathlib import Path

from unisono.desk.trackers import Tracker, tracker
from unisono.desk.training import Training, read_training_state
from unisono.errors import UserError
from unisono.files import read_json


class Events:
    """Hands on what is new; asked again and again while the runs of one folder of results train."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        """Take `results/<name>` and the trackers. Raises UserError where a library is not installed."""
        self._root = root
        self._trackers: list[Tracker] = [tracker(name, root) for name in names]
        self._written: set[tuple[str, str, int]] = set()

    def look(self) -> int:
        """Read all runs and hand on what is new; return how many numbers that were."""
        folders = sorted(path.parent for path in self._root.glob("runs/*/config.json"))
        return sum(self.write(read_training_state(folder)) for folder in folders)

    def write(self, run: Training) -> int:
        """Hand on the numbers of a run that were not yet; return how many that were."""
        count = 0
        for before, step in zip([None, *run.steps], run.steps, strict=False):
            seconds = step.time - before.time if before else 0.0
            values = {
                "objective_dev": step.objective_dev,
                "learning_rate": step.learning_rate,
                "frames_per_s": step.frames / seconds if seconds > 0 else None,
                "rejected": float(step.rejected),
                "wer": self._wer(run) if step is run.steps[-1] else None,
            }
            for tag, value in values.items():
                # An objective may come after those of later numbers: `jobs` evaluates beside the next iterations.
                if value is not None and (run.name, tag, step.iteration) not in self._written:
                    for one in self._trackers:
                        one.add(run.name, tag, value, step.iteration, step.time)
                    self._written.add((run.name, tag, step.iteration))
                    count += 1
        if count:
            for one in self._trackers:
                one.flush()
        return count

    def close(self) -> None:
        """Say that no more comes."""
        for one in self._trackers:
            one.close()

    def _wer(self, run: Training) -> float | None:
        """Return the word error rate on test of a run that is finished and scored, as a fraction."""
        if not run.finished:
            return None
        folder = self._root / "runs" / run.name
        try:
            old = (folder / "wer.json").stat().st_mtime < (folder / "final.safetensors").stat().st_mtime
            return None if old else float(read_json(folder / "wer.json")["wer"])
        except (OSError, UserError, LookupError, TypeError):
            return None
