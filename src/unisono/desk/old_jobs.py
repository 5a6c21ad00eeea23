"""Jobs that a killed snakemake left in SLURM's queue: what they are, and how to end them."""

import re
from pathlib import Path

from unisono.desk.cluster import read_profile
from unisono.desk.findings import Finding, ask, red

_LINE = re.compile(r"(\d+)\|(\w+)\|([^|]*)\|([^|]*)\|(.*)")


def find(folder: Path, profile: Path) -> tuple[list[int], list[Finding]]:
    """Return the numbers of one's own jobs of this working directory, and a line for each."""
    prefix = str(read_profile(profile).get("slurm-jobname-prefix", ""))
    said = ask(["squeue", "--me", "--noheader", "--format=%i|%T|%j|%k|%Z"], 15.0)
    if said.fault:
        return [], [red(f"squeue: {said.fault}", "--jobs needs SLURM")]
    numbers, found = [], []
    for line in said.output.splitlines():
        row = _LINE.match(line.strip())
        if row and row[3].startswith(prefix) and Path(row[5]).resolve() == folder.resolve():
            numbers.append(int(row[1]))
            # Snakemake's plugin writes `rule_NAME_wildcards_VALUES` there.
            rule = row[4].removeprefix("rule_").replace("_wildcards_", " ") if row[4] != "(null)" else "whole run"
            found.append(Finding("yellow", f"job {row[1]} {row[2].lower()}: {rule} ({row[3]})"))
    if not numbers:
        return [], [Finding("green", f"no job of {folder.resolve()} is in the queue")]
    remedy = f"unisono doctor --jobs --cancel, or scancel {' '.join(map(str, numbers))}, where no snakemake runs here"
    return numbers, [*found, Finding("yellow", f"{len(numbers)} jobs of this folder", remedy)]


def cancel(numbers: list[int]) -> Finding:
    """Cancel these jobs."""
    if not numbers:
        return Finding("green", "nothing to cancel")
    said = ask(["scancel", *map(str, numbers)], 30.0)
    return red(f"scancel: {said.fault}", "try again") if said.fault else Finding("green", f"{len(numbers)} cancelled")
