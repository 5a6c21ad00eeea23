"""TensorBoard event files of a run, written while it trains, from the files that training leaves.

They lie in `runs/<run>/tensorboard/` and hold, by iteration: objective_dev, learning_rate, frames_per_s, rejected. The
library is tensorboardX (extra `tensorboard`), which needs neither TensorBoard nor TensorFlow.
"""

from pathlib import Path
from typing import Any

from unisono.desk.training import Training
from unisono.errors import UserError

FOLDER = "tensorboard"


class Events:
    """Writes what is new; asked again and again while the runs train."""

    def __init__(self, root: Path) -> None:
        """Take `results/<name>`. Raises UserError where the library is not installed."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError("--tensorboard: tensorboardX is not installed: pip install '.[tensorboard]'") from None
        self._root, self._make = root, SummaryWriter
        self._writers: dict[str, Any] = {}
        self._written: set[tuple[str, str, int]] = set()

    def write(self, run: Training) -> int:
        """Write the iterations of a run that were not written yet; return how many numbers that were."""
        count = 0
        for before, step in zip([None, *run.steps], run.steps, strict=False):
            seconds = step.time - before.time if before else 0.0
            values = {
                "objective_dev": step.objective_dev,
                "learning_rate": step.learning_rate,
                "frames_per_s": step.frames / seconds if seconds > 0 else None,
                "rejected": float(step.rejected),
            }
            for tag, value in values.items():
                # An objective may come after those of later numbers: `jobs` evaluates beside the next iterations.
                if value is not None and (run.name, tag, step.iteration) not in self._written:
                    self._writer(run.name).add_scalar(tag, value, step.iteration, walltime=step.time)
                    self._written.add((run.name, tag, step.iteration))
                    count += 1
        if count:
            self._writer(run.name).flush()
        return count

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            self._writers[run] = self._make(logdir=str(self._root / "runs" / run / FOLDER))
        return self._writers[run]
