"""The doctor on a SLURM of two nodes: what does not fit is named with its cure, before a job waits in the queue."""

import json
import re
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support.slurm import Slurm
from unisono.desk import cluster
from unisono.desk.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "config/spoken_small.yaml"
PROFILE = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())


@pytest.fixture(scope="module")
def poor(tmp_path_factory, slurm):
    """A SLURM of nodes with one CPU, of two types, without GPUs and accounting."""
    box = Slurm(tmp_path_factory.mktemp("poor"), venv=slurm.venv, BOX_CPUS="1", BOX_GPUS="0", BOX_UNLIKE="1")
    try:
        yield box
    finally:
        box.stop()


def doctor(box, folder, *words, profile=None, code=None, env=None):
    """Return what the doctor finds, {what: (colour, remedy)}, in a folder; and the seconds that it took."""
    if profile:
        (folder / "site").mkdir(exist_ok=True)
        (folder / "site/profile.yaml").write_text(yaml.safe_dump(PROFILE | profile))
        words = [*words, "--profile", "site"]
    begun = time.monotonic()
    done = box.run(box.python, "-m", "unisono", "doctor", *words, "--json", cwd=folder, timeout=200, env=env)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert code is None or done.returncode == code, done.stdout
    return {f["what"]: (f["colour"], f["remedy"]) for f in found["findings"]}, time.monotonic() - begun


def line(found, pattern):
    """Return colour and text of the one line that a pattern finds."""
    lines = [(colour, f"{what}: {remedy}") for what, (colour, remedy) in found.items() if re.search(pattern, what)]
    assert len(lines) == 1, (pattern, found)
    return lines[0]


@pytest.mark.slurm
def test_a_sound_cluster(slurm, tmp_path):
    found, seconds = doctor(
        slurm, tmp_path, SMALL, "parallel.engine=sync", "resources.train_gpu=gpu=1", "--submit", code=0
    )
    assert line(found, "SLURM would take train_sync")[0] == "green"
    assert "--ntasks=2" in line(found, "take train_sync")[1] and "--gpus=2" in line(found, "take train_sync")[1]
    assert line(found, "take corpus")[0] == "green"
    assert line(found, "ranks start by mpirun; srun has .*pmi")[0] == "green"
    assert line(found, "share .* and its locks")[0] == "green"
    assert line(found, "mpirun: 2 ranks on n1, n2")[0] == "green"
    assert seconds < 60, "20 s on an idle machine"


@pytest.mark.slurm
def test_what_does_not_fit(poor, tmp_path):
    """A partition without the CPUs, no accounting, no GPU, an unknown partition, an interface that srun lacks."""
    found, _ = doctor(poor, tmp_path, SMALL, "resources.train_gpu=gres=gpu:1", code=2)
    colour, said = line(found, "refuses corpus")
    assert colour == "red" and "max-threads" in said, said
    colour, said = line(found, "refuses train_job")
    assert colour == "red" and "resources.train_gpu" in said, said
    assert line(found, "accounting: none, and none is needed")[0] == "green"
    site = {
        "slurm-status-command": "sacct", "max-threads": 1, "default-resources": {"slurm_partition": "nowhere"},
        "set-resources": {"train_sync": {"mpi": "srun --mpi=pmix_v9"}},
    }  # fmt: skip
    found, _ = doctor(poor, tmp_path, profile=site, code=2)
    colour, said = line(found, "slurm-status-command")
    assert colour == "red" and "without accounting" in said and "squeue" in said
    colour, said = line(found, "invalid partition|partition name")
    assert colour == "red" and "slurm_partition" in said
    colour, said = line(found, "srun has no --mpi=pmix_v9")
    assert colour == "red" and "pmi2" in said
    site = {"default-resources": {"constraint": "skylake"}, "max-threads": 1}
    colour, said = line(doctor(poor, tmp_path, profile=site)[0], "refuses")
    assert colour == "red" and "constraint" in said


@pytest.mark.slurm
def test_two_nodes_that_differ(poor, tmp_path):
    """Two types of CPU; MPI of a wheel under an interface that it does not speak; a folder of one node."""
    site = {"set-resources": {"train_sync": {"mpi": "srun --mpi=pmi2"}}, "max-threads": 1}
    wheel = {"LD_LIBRARY_PATH": f"{sys.prefix}/lib"}  # as where it lies in the environment itself
    found, _ = doctor(poor, tmp_path, "--submit", profile=site, env=wheel)
    colour, said = line(found, "different CPUs")
    assert colour == "yellow" and "another CPU" in said and "constraint" in said
    colour, said = line(found, "srun --mpi=pmi2: ")
    assert colour == "red" and "each rank is alone" in said and "mpirun" in said, said
    found, _ = doctor(poor, poor.folder / "apart", "--submit", profile=site, code=2)
    colour, said = line(found, "not seen on n2|two nodes")
    assert colour == "red" and "all nodes share" in said, said


@pytest.mark.slurm
def test_old_jobs_are_listed_and_cancelled(slurm, tmp_path):
    words = ["--job-name=unisono_12ab", "--comment=rule_train_job_wildcards_main_3_1", "--wrap", "sleep 100"]
    number = int(slurm.ask("sbatch", "--parsable", *words, cwd=tmp_path))
    other = int(slurm.ask("sbatch", "--parsable", "--job-name=mine", "--wrap", "sleep 100", cwd=tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert line(doctor(slurm, elsewhere, "--jobs", code=0)[0], "no job of .*elsewhere")
    found, _ = doctor(slurm, tmp_path, "--jobs", code=0)
    assert line(found, f"job {number} .*train_job main_3_1")[0] == "yellow"
    assert f"scancel {number}," in line(found, "1 jobs of this folder")[1]
    assert line(doctor(slurm, tmp_path, "--jobs", "--cancel", code=0)[0], "1 cancelled")
    assert number not in slurm.jobs() and other in slurm.jobs()
    slurm.ask("scancel", other)


def test_the_profile_is_read_or_refused(tmp_path):
    assert cluster.read_profile(ROOT / "profiles/slurm")["executor"] == "slurm"
    with pytest.raises(Exception, match="profile.yaml: .*name the folder of a profile"):
        cluster.read_profile(tmp_path)


def test_without_slurm_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(cluster.examine(read_settings([SMALL]), ROOT / "profiles/slurm")) == []
