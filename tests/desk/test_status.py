"""status, list and clean: what they read, say and remove."""

import json
import os
import subprocess
import sys

import pytest

from unisono.command import main
from unisono.desk import cleaning, listing, note, status, words
from unisono.errors import UserError


@pytest.fixture
def root(task):
    """A finished results/mine with two runs, a GMM and logs."""
    task.jobs()
    root = task.folder.parents[1]
    other = root / "runs" / "bmuf"
    (other / "iterations").mkdir(parents=True)
    (other / "config.json").write_text(
        json.dumps(task.settings | {"parallel": {**task.settings["parallel"], "workers": 8}})
    )
    (task.folder / "wer.json").write_text(json.dumps({"wer": 0.25, "ci95": [0.2, 0.3]}))
    (root / "gmm/tri").mkdir(parents=True)
    (root / "gmm/tri/wer.json").write_text(json.dumps({"wer": 0.5}))
    (root / "data").mkdir()
    (root / "data/corpus.json").write_text(json.dumps({"splits": {"train": {"seconds": 7200}}}))
    for name, text in (("hmm/a.log", "fine\n"), ("train/b.log", "x\nunisono train: error: disk full: free some\n")):
        (root / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "logs" / name).write_text(text)
    os.utime(root / "logs/hmm/a.log", (100, 100))
    os.utime(root / "logs/train/b.log", (200, 200))
    return root


def test_status(root, capsys):
    found = status.read_status(root)
    assert (found.stage, found.running, found.finished) == ("train", False, False)
    assert found.error == (str(root / "logs/train/b.log"), "unisono train: error: disk full: free some")
    assert found.disk_bytes == sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    text = "\n".join(status.lines(found))
    run = next(run for run in found.runs if run.name == "main")
    assert f"run main: iteration {run.total} of {run.total}" in text and "WER 25.00 %" in text
    assert f"dev objective {run.last_objective():.3f} ({run.change():+.3f})" in text and "newest error" in text
    assert main(["status", str(root)]) == 0
    assert capsys.readouterr().out == status.one_line(found) + "\n", "a pipe gets one line"
    assert main(["status", str(root), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["runs"]["main"]["objective_dev"] == run.last_objective() and numbers["error"]["log"].endswith(
        "b.log"
    )
    assert numbers["runs"]["bmuf"]["iterations"] is None and numbers["runs"]["main"]["wer"] == 0.25


TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\n'


@pytest.mark.parametrize("ending, said", [
    ("torch.OutOfMemoryError: CUDA out of memory\n", "torch.OutOfMemoryError: CUDA out of memory"),
    ("KeyboardInterrupt\n", "unisono train: error: disk full: free some"),
])  # fmt: skip
def test_a_traceback_is_named_by_its_last_line_and_an_interruption_is_no_error(root, ending, said):
    (root / "logs/train/c.log").write_text(TRACEBACK + ending)
    os.utime(root / "logs/train/c.log", (300, 300))
    found = status.read_status(root)
    assert found.error is not None and found.error[1] == said


def test_finished_results(root):
    (root / "report").mkdir()
    (root / "report/summary.txt").write_text("WER")
    assert status.read_status(root).finished and "newest error" not in "\n".join(status.lines(status.read_status(root)))
    (root / "logs/train/c.log").write_text("again")
    os.utime(root / "report/summary.txt", (300, 300))
    assert not status.read_status(root).finished, "a stage has worked since"


def test_watching_ends_with_the_run(root, capsys):
    (root / "report").mkdir()
    (root / "report/summary.txt").write_text("WER")
    assert main(["status", str(root), "--watch"]) == 0 and capsys.readouterr().out.count("\n") == 1


def check_running(root, capsys):
    """While it runs, percent and time left are those of `unisono run`, and unknown where it does not say them."""
    (root / "logs/train/b.log").write_text("12:00:00 INFO train: 3 of 12\n")
    (root / "runs/bmuf/final.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert main(["status", str(root)]) == 0
    line = capsys.readouterr().out
    assert "running, stage train (train: 3 of 12), " in line and "left" not in line
    note.Note(root).write(0.573, 250.0, "Decode: tune the tri GMM on dev (pass 1 of 2, utterances: 8 of 40)")
    assert main(["status", str(root)]) == 0
    assert "running, 57.3 %, Decode: tune the tri GMM on dev (pass 1 of 2, utterances: 8 of 40), 4 min left" in (
        capsys.readouterr().out
    )
    assert main(["status", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fraction"], told["seconds_left"]) == (0.573, 250.0)
    assert [run["training_seconds_left"] for run in told["runs"].values()] == [None, None], "0 would be the whole's"
    note.Note(root).remove()
    assert main(["status", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["running"] and told["fraction"] is told["seconds_left"] is None


def test_a_lock_that_is_held_is_a_run(root, capsys):
    assert not status.is_running(root)
    (root / ".lock").touch()
    assert not status.is_running(root)
    code = "import sys; from unisono import lock; lock.hold(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        assert status.is_running(root)
        check_running(root, capsys)
        with pytest.raises(UserError, match="a snakemake is working on it"):
            cleaning.undisturbed(root).__enter__()
        assert main(["clean", str(root), "--yes"]) == 2
        holder.stdin.close()
    assert not status.is_running(root)


def test_without_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line, said in (
        (["status"], "results: no results in it"),
        (["status", "x"], "x: no results there"),
        (["list"], "results: no runs in it"),
        (["clean", "x"], "x: no results there"),
    ):
        assert main(line) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_newest_results_are_meant(root, monkeypatch, capsys):
    monkeypatch.chdir(root.parents[1])
    (root.parent / "old/logs/hmm").mkdir(parents=True)
    os.utime(root.parent / "old/logs/hmm", (1, 1))
    assert main(["status"]) == 0 and capsys.readouterr().out.startswith("results/mine: ")


def test_list(root, capsys):
    entries = listing.read_entries(root.parent)
    assert [entry.name for entry in entries] == ["mine/bmuf", "mine/main"]
    assert listing.differences(entries) == [{"parallel.workers": 8}, {"parallel.workers": 2}]
    main_row = listing.rows(entries)[1]
    assert main_row[1:6] == ("parallel.workers=2", "25.00", "20.00 to 30.00", "50.00", "2.00")
    assert listing.rows(entries)[0][2] == "–"
    assert main(["list", str(root.parent)]) == 0
    assert "mine/main" in capsys.readouterr().out
    assert main(["list", str(root.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] | {"time": 0} == {
        "name": "mine/main", "differs": {"parallel.workers": 2}, "wer": 0.25, "ci95": [0.2, 0.3], "gmm_wer": 0.5,
        "hours": 2.0, "time": 0,
    }  # fmt: skip


def test_list_says_all_that_differs(root, capsys):
    """Language model, words and corpora differ, and what only goes along with another kind is not said."""
    other = root.parent / "other"
    for run, lm in (("main", {"kind": "loop"}), ("bmuf", {"kind": "ngram", "order": 3})):
        (other / "runs" / run).mkdir(parents=True)
        (other / "runs" / run / "config.json").write_text((root / "runs/main/config.json").read_text())
        hmm = {f"key{number}": number for number in range(5)}
        settings = {"settings": {"lm": lm, "hmm": hmm}}
        (other / "runs" / run / "recogniser.json").write_text(json.dumps(settings))
        (other / "data").mkdir(exist_ok=True)
        splits = {split: {"utterances": 4, "seconds": 5.0} for split in ("train", "dev", "test")}
        (other / "data/corpus.json").write_text(json.dumps({"lexicon_words": 10, "splits": splits}))
    shared = {"lm": {"kind": "ngram", "order": 3}, "hmm": {f"key{number}": 9 for number in range(5)}}
    (root / "runs/main/recogniser.json").write_text(json.dumps({"settings": shared}))
    entries = listing.read_entries(root.parent)
    differs = dict(zip((entry.name for entry in entries), listing.differences(entries), strict=True))
    assert differs["other/main"]["lm.kind"] == "loop" and differs["mine/main"]["lm.kind"] == "ngram"
    assert differs["other/main"]["corpus"] == "4+4+4 (15 s)" and differs["mine/main"]["corpus"] == "0+0+0 (7200 s)"
    assert "lm.order" not in differs["other/main"], "it follows from lm.kind"
    assert main(["list", str(root.parent)]) == 0
    table, _, more = capsys.readouterr().out.partition("what differs, too:\n")
    assert "lm.kind=loop" in table and "below)" in table
    assert "  hmm.key4: 9 (mine/main); 4 (other/bmuf, other/main)\n" in more


def test_clean(root, capsys):
    run = root / "runs/main"
    (run / "state/abc/ckpt-1").mkdir(parents=True)
    (run / "state/abc/ckpt-1/combine.safetensors").write_bytes(b"x" * 5000)
    (run / "state/abc/.x.tmp").write_bytes(b"x" * 7)
    (root / "runs/bmuf/iterations/3.0.state.safetensors").write_bytes(b"unfinished")
    (root / "data/.train.tsv.12.tmp").write_bytes(b"x" * 11)
    (root / "features/net").mkdir(parents=True)
    (root / "features/net/train.0.h5").write_bytes(b"x" * 13)
    (root / ".lock").touch()
    kept = {path for path in root.rglob("*") if path.is_file()}
    assert main(["clean", str(root)]) == 0
    out = capsys.readouterr().out
    assert "nothing is removed" in out and {path for path in root.rglob("*") if path.is_file()} == kept
    waste = cleaning.find_waste(root)
    assert all(str(item.path) in out for item in waste) and len({item.path for item in waste}) == len(waste)
    assert main(["clean", str(root), "--yes"]) == 0
    left = {path for path in root.rglob("*") if path.is_file()}
    gone = {path.relative_to(root).as_posix() for path in kept - left}
    vectors = {f"runs/main/iterations/{p.name}" for p in kept if p.match("runs/main/iterations/*.safetensors")}
    assert gone == {
        "runs/main/state/abc/ckpt-1/combine.safetensors", "runs/main/state/abc/.x.tmp", "data/.train.tsv.12.tmp",
        *vectors - {"runs/main/iterations/init.combine.safetensors"},
    }  # fmt: skip
    assert cleaning.find_waste(root, everything=True) == [], "a run is not finished, and needs the features"
    for name in ("final.safetensors", "wer.json"):
        (root / "runs/bmuf" / name).write_text("{}")
    assert root / "features/net/train.0.h5" in [item.path for item in cleaning.find_waste(root, everything=True)]


def test_words():
    assert [words.duration(s) for s in (0, 89, 90, 600, 5399, 5400, 36000)] == [
        "0 s", "89 s", "2 min", "10 min", "90 min", "1.5 h", "10.0 h"
    ]  # fmt: skip
    assert [words.size(n) for n in (0, 999, 1500, 2e6, 33e6, 4.25e9)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.0 MB", "33 MB", "4.2 GB"
    ]  # fmt: skip
