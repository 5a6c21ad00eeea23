"""CPU seconds and peak memory of jobs that a warm interpreter ran.

Snakemake measures the process that it started, which only waited. So the kernel's figures for the command itself are
written beside Snakemake's own, and stand for them:

    results/<name>/logs/train/main/1.0.log      where the command's messages go
    results/<name>/benchmarks/train/main.1.0.tsv       what Snakemake measured
    results/<name>/benchmarks/train/main.1.0.served    cpu_time and max_rss under the same headings
"""

import contextlib
import os

HEADING = "cpu_time\tmax_rss\n"


def write(log: str, cpu_seconds: float, peak_mb: float) -> None:
    """Write down what the command with this `--log` used; where there is no place for it nothing is written."""
    place = _place_of(log)
    with contextlib.suppress(OSError):
        if place:
            with open(place, "w", encoding="utf-8") as file:
                file.write(f"{HEADING}{cpu_seconds:.2f}\t{peak_mb:.2f}\n")


def forget(log: str) -> None:
    """Remove what an earlier command with this `--log` used: this one may be measured by Snakemake."""
    with contextlib.suppress(OSError):
        os.unlink(_place_of(log))


def read(folder: str | os.PathLike[str], measurement: str | os.PathLike[str]) -> dict[str, str]:
    """Return cpu_time and max_rss of the job that Snakemake wrote `measurement` about; empty where it ran it itself.

    folder: the results' `benchmarks`, which `measurement` lies in.
    """
    path = os.path.relpath(measurement, folder)
    try:
        with open(os.path.join(folder, _name(path)), encoding="utf-8") as file:
            names, values = (line.rstrip("\n").split("\t") for line in file)
            return dict(zip(names, values, strict=True))
    except (OSError, ValueError):
        return {}


def _place_of(log: str) -> str:
    """Return where the figures of a rule's command lie; empty for another one."""
    parts = log.split("/", 3)
    if len(parts) < 4 or (parts[0], parts[2]) != ("results", "logs"):
        return ""
    return os.path.join("results", parts[1], "benchmarks", _name(parts[3]))


def _name(path: str) -> str:
    """Return the file's name below `benchmarks`: a rule's log may have a slash where its measurement has a dot."""
    stage, _, rest = os.path.splitext(path)[0].partition("/")
    return os.path.join(stage, f"{rest.replace('/', '.')}.served")
