"""On a real SLURM of two nodes: the profile as it is, worker jobs, MPI ranks on both nodes."""

import datetime as dt
import itertools
import os
import re
import shutil
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slurm


def test_jobs_and_ranks_on_two_nodes(slurm, finished, copied):
    """One iteration of worker jobs, and one of MPI ranks, here and there: the bytes of the local run."""
    mine = copied.config(
        "mine.yaml",
        """
schedule: {kind: exponential, final_learning_rate: 0.0005, epochs: null, iterations: 1}
runs:
  here: {parallel: {engine: virtual}}
  jobs: {parallel: {engine: jobs}}
  sync: {parallel: {engine: sync}}
resources: {train_gpu: gpu=1}
""",
    )
    configs = [*finished.command()[-1:], mine]
    models = {
        run: f"results/spoken_small/runs/{run}/iterations/0.combine.safetensors" for run in ("here", "jobs", "sync")
    }
    starts = [model.replace("/0.", "/init.") for model in models.values()]
    process = copied.run(models["here"], *starts, "--notemp", config=configs)
    assert process.returncode == 0, process.stdout[-6000:]
    more = ["--notemp", "--set-resources", "train_sync:nodes=2"]
    process = slurm.run(*slurm.snakemake(copied, models["jobs"], models["sync"], *more, configs=configs), timeout=600)
    assert process.returncode == 0, process.stdout[-6000:]
    assert "Nothing to be done" not in process.stdout
    contents = {run: (copied.folder / path).read_bytes() for run, path in models.items()}
    assert contents["jobs"] == contents["here"] and contents["sync"] == contents["here"]
    asked = slurm.ask("scontrol", "show", "job", "--oneliner")
    gpus = dict(re.findall(r" Comment=rule_(train_\w+?)_wildcards_\w+ .*?TresPerJob=gres:gpu:(\d)", asked))
    assert gpus == {"train_job": "1", "train_sync": "2"}, asked
    log = (copied.results / "logs/train/sync/block.0.log").read_text()
    assert {"rank 0 of 2 on n1", "rank 1 of 2 on n2"} <= set(re.findall(r"rank \d of \d on \w+", log)), log


HELLO = """
import os
from mpi4py import MPI
everyone = MPI.COMM_WORLD.gather(os.environ["SLURMD_NODENAME"])
if everyone:
    print("nodes", *everyone)
"""


@pytest.fixture(scope="session")
def mpich(slurm):
    """An environment with MPICH's wheel, on top of that of SLURM."""
    folder = slurm.folder / "mpich"
    made = slurm.run("bash", ROOT / "envs/mpich.sh", folder, slurm.venv / "bin/python", timeout=300)
    assert made.returncode == 0, made.stdout
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mpi", "launcher"),
    [("openmpi", "mpirun"), ("debian", "srun --mpi=pmix"), ("mpich", "mpirun"), ("mpich", "srun --mpi=pmi2")],
)
def test_ranks_fill_the_nodes(slurm, request, tmp_path, mpi, launcher):
    """On one node and on two, with one core a rank and with two; also without what the plugin takes away."""
    folder = request.getfixturevalue("mpich") if mpi == "mpich" else slurm.venv
    if mpi == "debian" and not shutil.which("mpirun.openmpi"):
        pytest.skip("no Open MPI of Debian (make test-slurm)")
    python = folder / "bin/python"
    # Without what the plugin's job takes out of the environment.
    lines = ["#!/bin/bash", "for v in $(env | grep -o ^SLURM_[A-Z_]*); do [ $v = SLURM_JOB_ID ] || unset $v; done"]
    (tmp_path / "hello.py").write_text(HELLO)
    for ranks, cpus, nodes, wanted in ((3, 1, 1, "n1 n1 n1"), (4, 2, 2, "n1 n1 n2 n2"), (3, 2, 2, "n1 n1 n2")):
        command = f'PATH={folder}/bin:$PATH python -m unisono.launch "{launcher}" {ranks} {python} {tmp_path}/hello.py'
        (tmp_path / "job.sh").write_text("\n".join([*lines, command]) + "\n")
        asked = [f"--ntasks={ranks}", f"--cpus-per-task={cpus}", f"--nodes={nodes}", f"--output={tmp_path}/said"]
        slurm.ask("sbatch", "--wait", *asked, tmp_path / "job.sh")
        assert f"nodes {wanted}\n" in (tmp_path / "said").read_text(), (tmp_path / "said").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("mpi", "launcher"), [("debian", "srun --mpi=pmix"), ("mpich", "srun --mpi=pmi2")])
def test_training_by_srun(slurm, request, finished, copied, mpi, launcher):
    """Ranks of other MPIs, over two nodes: the bytes of one process."""
    python = (request.getfixturevalue("mpich") if mpi == "mpich" else slurm.venv) / "bin/python"
    if mpi == "debian" and not shutil.which("mpirun.openmpi"):
        pytest.skip("no Open MPI of Debian (make test-slurm)")
    text = "schedule: {kind: exponential, final_learning_rate: 0.0005, epochs: null, iterations: 2}\n"
    runs = "runs:\n  here: {parallel: {workers: 4, engine: virtual}}\n  ranks: {parallel: {workers: 4, engine: sync}}\n"
    configs = [*finished.command()[-1:], copied.config("mine.yaml", text + runs)]
    place = "results/spoken_small/runs/{}/iterations/{}.combine.safetensors"
    process = copied.run(place.format("here", 1), place.format("ranks", "init"), "--notemp", config=configs)
    assert process.returncode == 0, process.stdout[-3000:]
    resources = ["--set-resources", "train_sync:nodes=2", f"train_sync:mpi='{launcher}'"]
    command = slurm.snakemake(copied, place.format("ranks", 1), "--notemp", *resources, configs=configs)
    slurm.ask(python, *command[1:], timeout=600)
    contents = [(copied.folder / place.format(run, 1)).read_bytes() for run in ("here", "ranks")]
    assert contents[0] == contents[1]
    log = (copied.results / "logs/train/ranks/block.1.log").read_text()
    nodes = dict(re.findall(r"rank (\d) of 4 on (n\d)", log))
    assert len(nodes) == 4 and set(nodes.values()) == {"n1", "n2"}, log


@pytest.mark.slow
def test_a_paper_resolves_to_the_same_jobs_with_the_profile(slurm, workspace, corpora_dir):
    config = ROOT / "config/papers/povey-2014.yaml"
    words = ("paper", "--dry-run", "--config", f"corpora_dir={corpora_dir}")
    here = workspace.run(*words, config=config)
    there = slurm.run(*slurm.snakemake(workspace, *words, configs=[config]))
    assert (here.returncode, there.returncode) == (0, 0), there.stdout[-3000:]
    counts = [re.findall(r"^(\w+) +(\d+)$", process.stdout, re.MULTILINE) for process in (here, there)]
    assert counts[0] == counts[1] and {"finish", "paper_claims"} <= dict(counts[1]).keys()


@pytest.mark.slow
def test_what_a_dependent_stage_costs(slurm, finished, copied, capsys):
    """Median of ten stages in a row, without waiting in the queue and without the command's own seconds."""
    text = "schedule: {kind: exponential, final_learning_rate: 0.0005, epochs: null, iterations: 6}\n"
    run = "runs:\n  chain: {parallel: {workers: 1}}\n"
    configs = [*finished.command()[-1:], copied.config("mine.yaml", text + run)]
    folder = "results/spoken_small/runs/chain/iterations"
    process = copied.run(f"{folder}/init.combine.safetensors", config=configs)
    assert process.returncode == 0, process.stdout[-3000:]
    command = slurm.snakemake(copied, f"{folder}/5.combine.safetensors", configs=configs, quick=())
    slurm.ask(*command, timeout=900)
    lines = slurm.ask("squeue", "--noheader", "--states=all", "--format=%k|%V|%S").splitlines()
    rows = [line.split("|") for line in lines if re.match(r"rule_(train_job|combine)_wildcards_chain_", line)]
    when = dt.datetime.fromisoformat
    moments = sorted((when(submit), when(start), name) for name, submit, start in rows)
    costs = []
    for (_, start, name), (following, _, _) in itertools.pairwise(moments):
        iteration = re.findall(r"\d+", name)[0]
        stem = f"chain.{iteration}.combine" if "combine" in name else f"chain.{iteration}.0"
        work = float((copied.results / f"benchmarks/train/{stem}.tsv").read_text().splitlines()[1].split("\t")[0])
        costs.append((following - start).total_seconds() - work)
    with capsys.disabled():
        print(
            f"\na dependent stage: {statistics.median(costs):.1f} s, of {sorted(costs)}; load {os.getloadavg()[0]:.1f}"
        )
    assert len(costs) >= 10
    assert statistics.median(costs) < 15 * max(1.0, os.getloadavg()[0] / 2)
