"""Can this machine run this config, and what will it take: asked before hours are spent."""

import concurrent.futures
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisono.config.check import Settings
from unisono.desk import cluster, software
from unisono.desk.corpus_checks import check_corpus
from unisono.desk.estimate import Need, need
from unisono.desk.findings import Child, Finding, ask_python, of_error, red
from unisono.desk.settings import read_settings, snakefile
from unisono.desk.words import duration, size
from unisono.errors import UserError
from unisono.needs import FLOPS

BUSY = 1.3  # times as long as on free cores
ROUGH = 2.0  # an estimate is so far off at times; what exceeds half of what is free is yellow


def examine(
    configs: Sequence[str], changes: Sequence[str] = (), cores: int | None = None, profile: Path = cluster.PROFILE
) -> list[Finding]:
    """Check programs and machine, and with config files these, their corpus, disk, memory and time.

    profile: folder of the settings for SLURM, which is asked where it is.
    """
    cores = cores or len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]  # before the children below add to it
    # Slow children beside each other; a wheel that does not fit ends its own process only.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        torch, fst = pool.submit(ask_python, software.TORCH), pool.submit(ask_python, software.FST)
        settings, findings = _settings(configs, changes)
        engines = {run.parallel.engine for run in settings.runs.values()} if settings else set()
        ranked = not engines.isdisjoint(("sync", "async"))
        # A config whose engine starts no ranks need not hear of MPI.
        mpi = pool.submit(lambda: list(software.mpi(ranked)) if ranked or not settings else [])
        checked = check_corpus(settings.shared, cores) if settings else None
        facts, broken = _facts(torch.result())
        found = [*_workflow(), *software.versions(), software.fst_wheels(fst.result()), *broken, *mpi.result()]
    device = settings.shared.resources.device if settings else "auto"
    found += [] if broken else [software.gpus(facts, device)]
    found += findings
    found += cluster.examine(settings, profile)
    if settings and checked:
        found += checked.findings
        if checked.seconds and checked.seconds["train"]:
            found += _needs(settings, checked.seconds, cores, facts, checked.vocabulary, load)
    return found


def worst(findings: Sequence[Finding]) -> str:
    """Return the colour of the worst finding."""
    return max((finding.colour for finding in findings), key=("green", "yellow", "red").index, default="green")


def _settings(configs: Sequence[str], changes: Sequence[str]) -> tuple[Settings | None, list[Finding]]:
    if not configs:
        return None, []
    try:
        settings = read_settings(configs, changes)
    except UserError as error:
        return None, [of_error(UserError(f"config: {error}"))]
    runs = f"{len(settings.runs)} run{'s' if len(settings.runs) > 1 else ''}"
    noted = [Finding("yellow", f"config: {note}", "take the key away, or mean it") for note in settings.notes]
    return settings, [Finding("green", f"config: {settings.shared.name}, {runs}"), *noted]


def _workflow() -> list[Finding]:
    try:
        snakefile()
    except UserError as error:
        return [of_error(error)]
    return []


def _facts(torch: Child) -> tuple[dict[str, Any], list[Finding]]:
    if torch.fault:
        return {}, [red(f"torch does not load: {torch.fault}", "pip install torch==2.13.0, see README, Installing")]
    try:
        return json.loads(torch.output.splitlines()[-1]), []
    except (ValueError, LookupError):
        return {}, [red("torch does not answer", "pip install torch==2.13.0, see README, Installing")]


def _needs(
    settings: Settings,
    seconds: dict[str, float],
    cores: int,
    facts: dict[str, Any],
    vocabulary: int = 0,
    load: float = 0.0,
) -> list[Finding]:
    wanted = need(settings.shared, settings.runs, seconds, cores, float(facts.get("flops", FLOPS)), vocabulary)
    free = shutil.disk_usage(".").free
    memory = available_memory()
    found = [
        _compared("disk", wanted.disk, free, "free some space, or work on another disk"),
        _compared("memory", wanted.memory, memory, "use fewer cores (--cores), or a smaller network"),
    ]
    return [*found, _time(wanted, cores, load, os.cpu_count() or cores)]


def _time(wanted: Need, cores: int, load: float, machine: int) -> Finding:
    """Say how long it takes. load: processes that want a core of the machine's now, before ours begins."""
    total = sum(wanted.seconds.values())
    parts = {"training": wanted.seconds["train"], "decoding": wanted.seconds["tune"] + wanted.seconds["decode"]}
    most = ", ".join(f"{what} {duration(parts[what])}" for what in sorted(parts, key=lambda what: -parts[what]))
    count = sum(wanted.iterations.values())
    said = f"time: about {duration(total)} on {cores} free cores, of it {most} ({count} iterations); a rough guess"
    slower = (load + cores) / machine  # as the machine shares its cores out
    if slower > BUSY:
        said += f"; the machine is busy now (load {load:.1f}): rather {duration(slower * total)}"
    return Finding("green", said)


def _compared(what: str, wanted: float, free: float, remedy: str) -> Finding:
    said = f"{what}: about {size(wanted)} needed, {size(free)} free"
    if wanted > free:
        return red(said, remedy)
    return Finding("yellow", said, remedy) if wanted * ROUGH > free else Finding("green", said)


def available_memory() -> float:
    """Return the bytes that processes can have without swapping; those of all memory where Linux does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
