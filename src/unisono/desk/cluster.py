"""What a SLURM cluster would say to a run: asked before a job waits in its queue.

`examine` submits nothing: `sbatch --test-only` judges what each rule asks for. `try_two_nodes` starts a short job.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from unisono import needs
from unisono.config.check import Settings
from unisono.desk.findings import Finding, ask, red
from unisono.desk.settings import HOUSE
from unisono.errors import UserError
from unisono.schedule import worker_range

PROFILE = HOUSE / "profiles/slurm"
PLUGIN = "snakemake-executor-plugin-slurm"
WAIT_S = 120.0  # for two nodes
_SKEW_S = 5.0
# What SLURM says, and what to do about it.
CURES = (
    (r"cpu count per node", "set max-threads in {profile} to the CPUs of a node"),
    (r"memory specification|memory limit", "lower mem_mb in {profile}, or take a partition with more memory"),
    (r"invalid account|account/partition", "set slurm_account in {profile} (sacctmgr show assoc user=$USER)"),
    (r"invalid partition|partition name", "set slurm_partition in {profile} (sinfo names them)"),
    (r"time limit", "lower runtime in {profile}, or take a partition with a longer limit (sinfo)"),
    (r"generic resource|gres", "resources.train_gpu as the site says it, gpu=1 or gres=gpu:1 (sinfo --format='%N %G')"),
    (r"feature", "set constraint in {profile} to a feature that nodes have (sinfo --format='%N %f')"),
    (r"more processors|node count|node configuration", "ask for less: max-threads, mem_mb, tasks must fit some nodes"),
)  # fmt: skip


def read_profile(folder: Path) -> dict[str, Any]:
    """Return the profile that jobs are submitted with. Raises UserError where there is none."""
    path = folder / "profile.yaml"
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {error.__class__.__name__}: name the folder of a profile") from None
    return read if isinstance(read, dict) else {}


def examine(settings: Settings | None, path: Path) -> Iterator[Finding]:
    """Check the plugin, the controller, what each rule asks for, and MPI; nothing where there is no SLURM."""
    if not shutil.which("sbatch"):
        return
    said = ask(["scontrol", "show", "config"], 15.0)
    if "configuration source" in said.fault:  # Debian's packages alone make no cluster
        return
    if said.fault:
        # Only a run over the cluster's profile needs it.
        remedy = "for runs on the cluster try again later, or on another login node (scontrol ping)"
        yield Finding("yellow", f"SLURM does not answer: {said.fault}", remedy)
        return
    site, own = dict(re.findall(r"^(\w+)\s+= (.*)$", said.output, re.MULTILINE)), read_profile(path)
    yield _plugin()
    yield from _status(site, own)
    for asked, rules in _requests(settings, own).items():
        yield _judged(rules, asked, path)
    yield from _mpi_types(own)


def _plugin() -> Finding:
    try:
        return Finding("green", f"{PLUGIN} {metadata.version(PLUGIN)}")
    except metadata.PackageNotFoundError:
        what = f"{PLUGIN} is not installed: one allocation works (profiles/slurm/allocation.sh), many jobs do not"
        return Finding("yellow", what, "pip install -r requirements-slurm.lock")


def _status(site: Mapping[str, str], own: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield whether the plugin hears of the ends of jobs."""
    accounting = "none" not in site.get("AccountingStorageType", "none")
    if own.get("slurm-status-command") != "squeue":
        cause = "cancelled jobs are waited for without end" if accounting else "without accounting sacct says nothing"
        yield red(f"slurm-status-command is not squeue: {cause}", "slurm-status-command: squeue in the profile")
        return
    age, wait = _number(site.get("MinJobAge", "")), 3 * int(own.get("slurm-init-seconds-before-status-checks", 40))
    if age < wait:
        remedy = f"slurm-init-seconds-before-status-checks: {max(1, age // 3)} in the profile"
        yield (Finding("yellow", f"squeue forgets jobs after {age} s (MinJobAge)", remedy))
    yield Finding("green", f"squeue tells of jobs; accounting: {'yes' if accounting else 'none, and none is needed'}")


def _number(text: object) -> int:
    """Return the first number of a text such as `attempt * (2000 + ...)`: what is asked for at least."""
    found = re.search(r"\d+", str(text))
    return int(found[0]) if found else 0


def _requests(settings: Settings | None, own: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Return {flags of sbatch: the rules that ask so}."""
    defaults = {**(own.get("default-resources") or {})}
    most = int(own.get("max-threads") or needs.PROCESSES)
    found: dict[tuple[str, ...], list[str]] = {}

    def ask_for(rules: str, cpus: int, **resources: Any) -> None:
        asked = {**defaults, "cpus": cpus, **resources}
        found.setdefault(tuple(_flags(asked)), []).append(rules)

    ask_for("corpus, train_mono, train_tri, align, tune_gmm", min(needs.PROCESSES, most))
    ask_for("features, frames, graph, decode_gmm, score", 1)
    if settings:
        shared, changed = settings.shared, own.get("set-resources") or {}
        ask_for("tune_dnn", min(needs.PROCESSES, most), **needs.gpus(shared.resources.decode_gpu))
        for run in settings.runs.values():
            weights = run.network.weights(shared.features.dim, needs.pdfs(shared))
            rule = {"jobs": "train_job"}.get(run.parallel.engine, f"train_{run.parallel.engine}")
            workers, served = worker_range(run.parallel.workers)[1], rule == "train_async"
            ranks = workers if rule == "train_sync" or served else 1
            threads, block = shared.resources.threads_per_worker, run.parallel.iterations_per_job
            asked = {
                "mem_mb": needs.memory_mb(rule, workers, weights),
                "runtime": needs.minutes(rule, run, weights, 1 if rule == "train_job" else block, threads),
                **needs.gpus(shared.resources.train_gpu, ranks, apart=served),
                **{k: v for k, v in changed.get(rule, {}).items() if k not in ("mpi", "slurm_extra")},
            }
            if ranks > 1 or served:
                asked |= {"tasks": ranks + served, "mem_per_cpu": -(-asked.pop("mem_mb") // threads)}
            ask_for(rule, threads, **asked)
    return {flags: sorted(set(rules)) for flags, rules in found.items()}


def _flags(asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield the flags of sbatch for some resources, as the plugin gives them."""
    yield f"--cpus-per-task={asked['cpus']}"
    if "mem_per_cpu" in asked:
        yield f"--mem-per-cpu={_number(asked['mem_per_cpu'])}"
    elif "mem_mb" in asked:
        yield f"--mem={_number(asked['mem_mb'])}"
    names = {
        "tasks": "ntasks", "nodes": "nodes", "gpu": "gpus", "gres": "gres", "tasks_per_gpu": "ntasks-per-gpu",
        "slurm_account": "account", "slurm_partition": "partition", "constraint": "constraint", "qos": "qos",
    }  # fmt: skip
    yield from (f"--{flag}={asked[name]}" for name, flag in names.items() if asked.get(name))
    if "runtime" in asked:
        yield f"--time={_number(asked['runtime'])}"


def _judged(rules: list[str], flags: tuple[str, ...], path: Path) -> Finding:
    said = ask(["sbatch", "--test-only", *flags, "--wrap", "true"], 15.0)
    names = ", ".join(rules)
    if not said.fault:
        return Finding("green", f"SLURM would take {names} ({' '.join(flags)})")
    why = (
        said.fault.split("error: ")[-1]
        .removeprefix("Batch job submission failed: ")
        .removeprefix("allocation failure: ")
    )
    where = (path.relative_to(HOUSE) if path.is_relative_to(HOUSE) else path) / "profile.yaml"
    # Of a GPU that no node has SLURM says no more than of too many cores.
    gpu = " generic resource" if any(flag.startswith(("--gpus=", "--gres=")) for flag in flags) else ""
    said_of = why.lower() + (gpu if "node configuration" in why.lower() else "")
    cure = next((cure for words, cure in CURES if re.search(words, said_of)), "ask for something else in {profile}")
    return red(f"SLURM refuses {names} ({' '.join(flags)}): {why}", cure.format(profile=where))


def _mpi_types(own: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield whether srun knows the MPI interface that the profile names."""
    launcher = str((own.get("set-resources") or {}).get("train_sync", {}).get("mpi", "mpirun"))
    said = ask(["srun", "--mpi=list"], 15.0)
    known = set(re.findall(r"^\s+(\w+)$", said.output, re.MULTILINE))
    named = re.search(r"--mpi[= ](\w+)", launcher)
    if named and known and not any(name == named[1] or name.startswith(f"{named[1]}_") for name in known):
        can = ", ".join(sorted(known - {"none"}))
        yield red(f"srun has no --mpi={named[1]}: it has {can}", f'mpi: "mpirun", or one of {can}, in the profile')
    elif launcher.startswith("srun") and not named:
        yield red(f"mpi: {launcher}: each rank would be alone", 'mpi: "mpirun" or "srun --mpi=pmix" in the profile')
    else:
        yield Finding("green", f"ranks start by {launcher}; srun has {', '.join(sorted(known - {'none'})) or 'no MPI'}")


def try_two_nodes(path: Path) -> Iterator[Finding]:
    """Start a short job on two nodes: see the same folder, lock a file, compare clocks and CPUs, meet by MPI."""
    own = read_profile(path)
    defaults = own.get("default-resources") or {}
    site = [flag for flag in _flags({**defaults, "cpus": 1, "mem_mb": 1000, "runtime": 5}) if "=" in flag]
    with tempfile.TemporaryDirectory(prefix=".unisono-doctor-", dir=".") as folder:
        where = Path(folder).resolve()
        (where / "mark").touch()
        words = [sys.executable, "-m", "unisono.desk.probe", str(where)]
        said = ask(["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", *site, *words], WAIT_S)
    if said.fault:
        yield red(f"two nodes: {said.fault}", "see that two nodes are free (sinfo), or run it when they are")
        return
    rows = [json.loads(line) for line in said.output.splitlines() if line.startswith("{")]
    yield from _compared(rows, where.parent)
    launcher = str((own.get("set-resources") or {}).get("train_sync", {}).get("mpi", "mpirun"))
    yield _ranks(launcher, site)


def _compared(rows: list[dict[str, Any]], folder: Path) -> Iterator[Finding]:
    """Yield what two nodes say of themselves and of a folder."""
    nodes = ", ".join(row["node"] for row in rows)
    blind = [row["node"] for row in rows if not row["seen"]]
    if blind:
        yield red(f"{folder} is not seen on {', '.join(blind)}", "work in a folder that all nodes share")
    elif not all(row["locked"] for row in rows):
        cure = "export HDF5_USE_FILE_LOCKING=FALSE, and never start two runs of one name (Lustre: mount with -o flock)"
        yield Finding("yellow", f"locks of files in {folder} do not reach from node to node", cure)
    else:
        yield Finding("green", f"{nodes} share {folder} and its locks")
    types = {row["cpu"] for row in rows}
    if len(types) > 1:
        cure = "constraint: FEATURE in the profile, for the same bytes (sinfo --format='%N %f')"
        yield Finding("yellow", f"nodes have different CPUs: {'; '.join(sorted(types))}", cure)
    skew = max(row["time"] for row in rows) - min(row["time"] for row in rows)
    if skew > _SKEW_S:
        yield red(f"the clocks of {nodes} differ by {skew:.0f} s", "tell the administrator: snakemake compares times")
    unlike = {row["python"] for row in rows}
    if len(unlike) > 1:
        yield red(f"nodes have different Pythons: {', '.join(sorted(unlike))}", "put .venv on the shared folder")


def _ranks(launcher: str, site: list[str]) -> Finding:
    """Return whether two ranks on two nodes find each other."""
    code = "import os; from mpi4py import MPI; print('ranks', MPI.COMM_WORLD.size, os.environ.get('SLURMD_NODENAME'))"
    words = [sys.executable, "-m", "unisono.launch", launcher, "2", sys.executable, "-c", code]
    said = ask(["salloc", "--quiet", "--nodes=2", "--ntasks=2", *site, *words], WAIT_S)
    found = re.findall(r"^ranks (\d+) (\S+)$", said.output, re.MULTILINE)
    if said.fault or len(found) != 2:
        return red(
            f"{launcher}: {said.fault or 'two ranks did not start'}", "another mpi: in the profile (docs/slurm.md)"
        )
    if {size for size, _ in found} != {"2"}:
        why = "each rank is alone: MPI and SLURM do not speak the same interface"
        return red(f"{launcher}: {why}", 'mpi: "mpirun"; or srun --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH')
    return Finding("green", f"{launcher}: 2 ranks on {', '.join(sorted({node for _, node in found}))}")
