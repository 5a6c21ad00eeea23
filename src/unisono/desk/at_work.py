"""How far the jobs are that work now, from the lines of progress in their logs (`console.progress`)."""

import os
import re
import time
from typing import Any, NamedTuple

# `12:00:05 INFO pass 2 of 3, utterances: 16 of 40`
_LINE = re.compile(r"^\S+ INFO ((?:pass (\d+) of (\d+), )?.*: (\d+) of (\d+))$", re.MULTILINE)
_TAIL = 4096  # bytes; the newest line is looked for in so many
_CLOCKS_S = 2.0  # by which the clock of files may be behind ours


class Told(NamedTuple):
    """What a log says last: the words, and the fraction of the job that is done."""

    words: str
    fraction: float


def told(log: str | os.PathLike[str], since: float = 0.0) -> Told | None:
    """Return the newest line of progress in a log; None where there is none since that time (seconds since 1970)."""
    try:
        with open(log, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mtime < since - _CLOCKS_S:
                return None  # of an earlier job: the new one has not opened its log yet
            file.seek(max(0, status.st_size - _TAIL))
            lines = _LINE.findall(file.read().decode("utf-8", errors="replace"))
    except OSError:
        return None
    if not lines:
        return None
    words, number, passes, done, total = lines[-1]
    part = int(done) / max(1, int(total))
    return Told(words, min(1.0, (int(number) - 1 + part) / int(passes) if number else part))


class Job(NamedTuple):
    """A job that Snakemake has started. begun: seconds since 1970."""

    rule: str
    message: str
    log: str
    begun: float

    def told(self) -> Told | None:
        """Return what its log says."""
        return told(self.log, self.begun) if self.log else None


def job_of(event: dict[str, Any]) -> Job:
    """Return the job that an event `job_info` tells of."""
    rule = event["rule_name"]
    return Job(rule, event.get("rule_msg") or rule, next(iter(event.get("log") or []), ""), time.time())
