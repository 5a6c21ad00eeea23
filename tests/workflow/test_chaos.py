"""`unisono chaos`: processes of a training are killed, it goes on, and the certificate says what was lost."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from unisono.__main__ import main
from unisono.desk.ordeal import ahead

SMALL = Path(__file__).resolve().parent.parent.parent / "config" / "spoken_small.yaml"

VIRTUAL = ["parallel.engine=virtual", "parallel.combine=elastic", "parallel.workers=8", "parallel.period_frames=250"]
ASYNC = ["parallel.engine=async", "parallel.combine=async", "parallel.period_frames=1000"]
SYNC = ["parallel.engine=sync", "parallel.combine=bmuf", "parallel.period_frames=3000"]
JOBS = ["parallel.engine=jobs", "parallel.combine=bmuf", "parallel.period_frames=8000"]
RANKS = {"rank 0", "rank 1", "rank 2", "launcher"}


def certified(workspace, changes, faults, iterations):
    words = [*changes, "schedule.epochs=null", f"schedule.iterations={iterations}", "--faults", faults]
    command = [sys.executable, "-m", "unisono", "chaos", SMALL, *words]
    done = subprocess.run(
        list(map(str, command)), cwd=workspace.folder, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((workspace.results / "chaos/main/certificate.json").read_text())
    assert found["equal"] and found["frames_lost"] == 0 and found["intervals"] == iterations
    assert f"{faults} kills" in done.stdout and "0 frames lost" in done.stdout
    after = [fault["after"] for fault in found["faults"]]
    assert len(after) == faults and after == sorted(set(after)), "each life of the training brings it on"
    assert 0.0 < found["lost_s"] < found["kept_s"]
    print(f"{found['engine']}, {found['workers']} workers, {faults} faults: {found['share_kept']:.2%} kept")
    return found


def victims(found):
    return {fault["victim"] for fault in found["faults"]}


def test_virtual_workers(copied):
    mine = ["final.safetensors", "plan.json", "config.json", "iterations/init.state.json"]
    before = {name: (copied.results / "runs/main" / name).read_bytes() for name in mine}
    found = certified(copied, VIRTUAL, 3, 20)
    assert before == {name: (copied.results / "runs/main" / name).read_bytes() for name in mine}
    assert [path.name for path in (copied.results / "runs").iterdir()] == ["main"]
    assert (found["engine"], found["workers"], found["compared_by"]) == ("virtual", 8, "bytes")
    assert victims(found) == {"process"}


@pytest.mark.mpi
def test_ranks_and_their_server(copied, mpirun):
    found = certified(copied, ASYNC, 3, 20)
    assert found["compared_by"] == "replay" and victims(found) <= RANKS


@pytest.mark.slow
def test_jobs_and_snakemake(copied):
    found = certified(copied, JOBS, 3, 6)
    assert victims(found) <= {"snakemake", "train-job", "combine", "diagnose"}


@pytest.mark.slow
@pytest.mark.mpi
def test_ranks_that_wait_for_each_other(copied, mpirun):
    assert victims(certified(copied, SYNC, 8, 200)) <= RANKS


# torchft publishes 97.7 % for 32 replicas, with skipped samples.
@pytest.mark.slow
@pytest.mark.parametrize("changes", [VIRTUAL, pytest.param(ASYNC, marks=pytest.mark.mpi)], ids=["virtual", "async"])
def test_thirty_faults_cost_little(copied, changes):
    quick = ["parallel.period_frames=128", "diagnostics.frames=0"]
    assert certified(copied, [*changes, *quick], 30, 1000)["share_kept"] >= 0.977


def test_kills_whose_moment_went_by_are_drawn_anew():
    chance = random.Random(1)
    drawn = ahead([], 4, range(10), chance)
    assert len(set(drawn)) == 4 and drawn == sorted(drawn) and set(drawn) <= set(range(10))
    assert ahead(drawn, 4, range(10), chance) == drawn
    assert ahead([2, 5, 8], 2, range(4, 10), chance) == [5, 8]
    late = ahead([2, 5, 8], 3, range(6, 10), chance)
    assert len(late) == 3 and 8 in late and set(late) <= set(range(6, 10))
    assert ahead([2, 5, 8], 3, range(8, 9), chance) == [8], "more are not left"
    assert ahead([8], 0, range(9), chance) == []


def test_what_cannot_be_certified_is_one_line(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (["--faults", "0"], "--faults: 0: give at least 1"),
        (["--run", "other"], "--run: other: no run of the config: it has main"),
        (["runs={a: {}, b: {}}"], "--run: the config has several: a, b: name one"),
        (["parallel.engine"], "parallel.engine: no such file"),
    ):
        assert main(["chaos", str(SMALL), *words]) == 2
        assert said in capfd.readouterr().err
