"""`unisono chaos`: processes of a training are killed, it goes on, and the certificate says what was lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unisono.__main__ import main

SMALL = Path(__file__).resolve().parent.parent.parent / "config" / "spoken_small.yaml"

VIRTUAL = ["parallel.engine=virtual", "parallel.combine=elastic", "parallel.workers=8", "parallel.period_frames=250"]
ASYNC = ["parallel.engine=async", "parallel.combine=async", "parallel.period_frames=1000"]
SYNC = ["parallel.engine=sync", "parallel.combine=bmuf", "parallel.period_frames=1000"]


def iterations(count):
    return ["schedule.epochs=null", f"schedule.iterations={count}"]


def certified(workspace, changes, faults, seed=1):
    command = [sys.executable, "-m", "unisono", "chaos", SMALL, *changes, "--faults", faults, "--seed", seed]
    done = subprocess.run(
        list(map(str, command)), cwd=workspace.folder, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads((workspace.results / "chaos/main/certificate.json").read_text())
    assert found["equal"] and found["frames_lost"] == 0 and len(found["faults"]) == faults
    assert f"{faults} kills" in done.stdout and "0 frames lost" in done.stdout
    return found


def test_virtual_workers(copied):
    found = certified(copied, [*VIRTUAL, *iterations(40)], 3)
    assert (found["engine"], found["workers"], found["compared_by"]) == ("virtual", 8, "bytes")
    assert [fault["victim"] for fault in found["faults"]] == ["process"] * 3
    after = [fault["after"] for fault in found["faults"]]
    assert after == sorted(set(after)) and found["intervals"] == 40
    assert 0.0 <= found["lost_s"] < found["kept_s"]
    again = certified(copied, [*VIRTUAL, *iterations(40)], 3, seed=2)
    assert [fault["after"] for fault in again["faults"]] != after


@pytest.mark.mpi
def test_ranks_and_their_server(copied, mpirun):
    found = certified(copied, [*ASYNC, *iterations(30)], 3)
    assert found["compared_by"] == "replay"
    assert {fault["victim"] for fault in found["faults"]} <= {"rank 0", "rank 1", "rank 2", "launcher"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "faults", "count"),
    [
        (VIRTUAL, 30, 1000),
        pytest.param(ASYNC, 8, 300, marks=pytest.mark.mpi),
        pytest.param(SYNC, 8, 300, marks=pytest.mark.mpi),
    ],
)
def test_many_faults(copied, changes, faults, count):
    found = certified(copied, [*changes, *iterations(count)], faults)
    if count >= 1000:
        assert found["share_kept"] >= 0.977


def test_what_cannot_be_certified_is_one_line(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (["parallel.engine=jobs"], "parallel.engine: jobs has no processes that live on"),
        (["--faults", "0"], "--faults: 0: give at least 1"),
        (["--run", "other"], "--run: other: no run of the config: it has main"),
    ):
        assert main(["chaos", str(SMALL), *words]) == 2
        assert said in capfd.readouterr().err
