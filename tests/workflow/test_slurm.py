"""On a real SLURM of two nodes: the profile as it is, worker jobs, MPI ranks on both nodes."""

import os
import re

import pytest

from tests.support import slurm as support

pytestmark = pytest.mark.slurm

HELLO = """
import os
from mpi4py import MPI
everyone = MPI.COMM_WORLD.gather((MPI.COMM_WORLD.rank, os.environ["SLURMD_NODENAME"]))
if everyone:
    print("ranks", everyone)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """SLURM; with accounting in `make test-slurm`."""
    accounting = os.environ.get("SLURM_BOX") == "accounting"
    if reason := support.missing(accounting):
        pytest.skip(reason)
    box = support.Slurm(tmp_path_factory.mktemp("slurm"), accounting)
    try:
        yield box
    finally:
        box.stop()


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
    log = (copied.results / "logs/train/sync/block.0.log").read_text()
    assert {"rank 0 of 2 on n1", "rank 1 of 2 on n2"} <= set(re.findall(r"rank \d of \d on \w+", log)), log
