"""Snakemake's events as lines of JSON, for `unisono run`, which starts `snakemake --logger unisono`.

The lines go to the descriptor that the environment variable UNISONO_EVENTS names; without it nothing is written.
Snakemake's own display is off while this handler is used. Snakemake finds the package by its name.
"""

import json
import os
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

VARIABLE = "UNISONO_EVENTS"
# What each event is told with; other fields of Snakemake's records are for its own display.
FIELDS: dict[Any, tuple[str, ...]] = {
    LogEvent.RUN_INFO: ("stats",),
    LogEvent.JOB_INFO: ("jobid", "rule_name", "rule_msg", "log"),
    LogEvent.JOB_FINISHED: ("job_id",),
    LogEvent.JOB_ERROR: ("jobid", "rule_name", "log"),
    LogEvent.PROGRESS: ("done", "total"),
    LogEvent.ERROR: ("exception",),
}


class LogHandler(LogHandlerBase):
    """Writes an event a line: `event`, its fields, and `text`, what Snakemake would have printed."""

    def __post_init__(self) -> None:
        """Find the descriptor."""
        given = os.environ.get(VARIABLE, "")
        self._descriptor = int(given) if given.isdigit() else None

    def emit(self, record: LogRecord) -> None:
        """Write one event; where nobody reads any more, say nothing."""
        event = getattr(record, "event", None)
        if self._descriptor is None or (event not in FIELDS and record.levelname not in ("WARNING", "ERROR")):
            return
        fields = {name: getattr(record, name, None) for name in FIELDS.get(event, ())}
        row = {"event": str(event or f"log_{record.levelname.lower()}"), "text": record.getMessage(), **fields}
        try:
            os.write(self._descriptor, (json.dumps(row, default=str) + "\n").encode())
        except OSError:
            self._descriptor = None

    @property
    def writes_to_stream(self) -> bool:
        """Whether it stands in for Snakemake's display: where somebody reads the events."""
        return self._descriptor is not None

    @property
    def writes_to_file(self) -> bool:
        """Whether it writes a log file."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether it chooses events itself, whatever `quiet` says."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Whether it formats records itself."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Whether it wants the graph of rules."""
        return False
