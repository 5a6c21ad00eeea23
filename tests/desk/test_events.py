"""The course of training for TensorBoard, MLflow and Weights & Biases: each number once, from files alone."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.events import events_of
from unisono.command import main
from unisono.config.logging import LIBRARIES
from unisono.desk.events import Events
from unisono.desk.training import read_training_state
from unisono.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def expected(task):
    """The combined models' dev objectives, from metrics.jsonl."""
    return [row["objective_dev"] for row in task.metrics() if row["worker"] is None]


def test_tensorboard_gets_each_number_once(task):
    """Also where dev objectives come later than the rest, and in another order."""
    task.initialise()
    events = Events(task.folder.parents[1], ["tensorboard"])
    for i in range(task.last + 1):
        for j in range(task.plan.iterations[i].workers):
            task.train_worker(i, j)
        task.combine(i)
        if i == 2:
            task.diagnose(1)
        assert events.write(read_training_state(task.folder)) > 0
    for i in (0, *range(2, task.last + 1)):
        task.diagnose(i)
    task.finish()
    found = read_training_state(task.folder)
    assert events.write(found) == task.last and events.write(found) == 0
    events.close()
    written = events_of(task.folder / "tensorboard")
    objectives = expected(task)
    assert [written["objective_dev", i] for i in range(task.last + 1)] == pytest.approx(objectives)
    assert written["rejected", 0] == 0 and {
        i: value for (tag, i), value in written.items() if tag == "learning_rate"
    } == pytest.approx({row["iteration"]: row["learning_rate"] for row in task.metrics() if row["worker"] is None})


@pytest.mark.parametrize(("name", "package"), LIBRARIES.items())
def test_without_the_library_the_remedy_is_named(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"logging.{name}: {package} is not installed: pip install {package}"):
        Events(tmp_path, [name])


def test_the_command_writes_anew_what_lies_there(task, capsys):
    """Event files of an earlier process go; the word error rate comes with a score that is newer than the model."""
    task.jobs()
    (task.folder / "wer.json").write_text('{"wer": 0.25}')
    root = task.folder.parents[1]
    for _ in range(2):
        assert main(["log", str(root), "--tensorboard"]) == 0
        written = events_of(task.folder / "tensorboard")
        assert [written["objective_dev", i] for i in range(task.last + 1)] == pytest.approx(expected(task))
        assert written["wer", task.last] == 0.25 and ("wer", 0) not in written
        assert f"{len(written)} numbers of {root} written for tensorboard" in capsys.readouterr().out
    os.utime(task.folder / "wer.json", (1, 1))
    assert main(["log", str(root), "--tensorboard"]) == 0
    assert ("wer", task.last) not in events_of(task.folder / "tensorboard")


@pytest.mark.parametrize(("words", "said"), [([], "for which program"), (["--mlflow"], "no runs in it")])
def test_mistakes(tmp_path, capsys, words, said):
    assert main(["log", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The folder of mlflow and wandb, installed beside our own packages."""
    folder = tmp_path_factory.mktemp("libraries")
    packages = ["mlflow-skinny", "sqlalchemy", "alembic", "wandb"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("mlflow and wandb do not install within 300 s")
    if done.returncode:
        pytest.skip(f"mlflow and wandb cannot be installed: {done.stderr.strip().splitlines()[-1][:200]}")
    return folder


def child(folder, *words, **more):
    """Run Python with these libraries, without a way to any network."""
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    paths = os.pathsep.join([str(ROOT / "src"), str(folder)])
    environ = {**os.environ, **nowhere, "PYTHONPATH": paths, "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environ,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **more,
    )


MLFLOW = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}")
experiment = client.get_experiment_by_name("mine").experiment_id
for run in client.search_runs([experiment]):
    key, data = run.info.run_id, run.data
    history = {tag: [(m.step, m.value) for m in client.get_metric_history(key, tag)] for tag in data.metrics}
    facts = {"name": run.info.run_name, "status": run.info.status, "params": data.params, "history": history}
    print(json.dumps(facts))
"""
RECORDS = """
import json, sys
from wandb.proto import wandb_internal_pb2 as pb
for line in sys.stdin:
    record = pb.Record.FromString(bytes.fromhex(line))
    for item in record.history.item:
        print(json.dumps([item.key or item.nested_key[0], json.loads(item.value_json)]))
    if record.HasField("history"):
        print("[]")
"""


def records(path):
    """The records of a file of wandb, as hexadecimal: LevelDB's log format, blocks of 32 KiB after 7 bytes."""
    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts.hex()
            parts = b""


def history_of_wandb(folder, path):
    """Each row of numbers that was logged."""
    reader = child(folder, "-c", RECORDS, stdin=subprocess.PIPE)
    said, errors = reader.communicate("\n".join(records(path)), timeout=60)
    assert reader.returncode == 0, errors
    rows, row = [], {}
    for line in said.splitlines():
        if line == "[]":
            rows.append(row)
            row = {}
        else:
            key, value = json.loads(line)
            row[key] = value
    return rows


@pytest.mark.slow
def test_mlflow_and_wandb_offline(task, libraries):
    """With the real packages: while the run trains, then anew; each number once, at its iteration."""
    root = task.folder.parents[1]
    task.initialise()
    words = ("-m", "unisono", "log", root, "--mlflow", "--wandb", "--until-eof")
    follower = child(libraries, *words, stdin=subprocess.PIPE)
    for i in range(task.last + 1):
        for j in range(task.plan.iterations[i].workers):
            task.train_worker(i, j)
        task.combine(i)
    for i in range(task.last + 1):
        task.diagnose(i)
    task.finish()
    _, errors = follower.communicate(timeout=120)
    assert follower.returncode == 0, errors
    (task.folder / "wer.json").write_text('{"wer": 0.25}')
    again = child(libraries, *words[:-1])
    said, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors

    reader = child(libraries, "-c", MLFLOW, root / "mlflow.db")
    said, errors = reader.communicate(timeout=60)
    (run,) = map(json.loads, said.splitlines())
    assert run["name"] == "main" and run["status"] == "FINISHED" and run["params"]["parallel.combine.kind"] == "mean"
    steps = [[i, pytest.approx(value)] for i, value in enumerate(expected(task))]
    assert sorted(run["history"]["objective_dev"]) == steps, errors
    assert run["history"]["wer"] == [[task.last, 0.25]] and len(run["history"]["rejected"]) == task.last + 1

    (path,) = root.glob("wandb/offline-run-*/*.wandb")
    rows = history_of_wandb(libraries, path)
    found = {row["iteration"]: row["objective_dev"] for row in rows if "objective_dev" in row}
    assert found == {i: pytest.approx(value) for i, value in enumerate(expected(task))}
    assert [(row["iteration"], row["wer"]) for row in rows if "wer" in row] == [(task.last, 0.25)]
    settings = read_training_state(task.folder)
    assert [row["rejected"] for row in rows if "rejected" in row] == [step.rejected for step in settings.steps]
