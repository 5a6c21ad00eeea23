"""One mistake under `unisono run` is at most three lines on the terminal, without frames and JSON."""

import contextlib
import fcntl
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.support.mistakes import CONFIGS, FOLDERS, WHOLE
from unisono.command import main

LEXICON = "ONE  W AH N\nTWO  T UW\n"
BAR = re.compile(r" *[\d.]+ %")
WRONG = [(f"name: wrong\n{config}", line) for config, line in CONFIGS] + WHOLE


def said_by(printed, code, line):
    """Check what stands on the terminal; lines of the bar in a pipe do not count."""
    shown = [one for one in printed.splitlines() if not BAR.match(one)]
    assert code == 2 and 1 <= len(shown) <= 3, printed
    assert line in " ".join(shown), printed
    assert not re.search(r"Traceback|File \"|\.smk|[{}]\"|WorkflowError|rule ", printed), printed


def process(folder, *words):
    command = [sys.executable, "-m", "unisono", "run", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("config", "line"), WRONG)
def test_a_wrong_config(tmp_path, monkeypatch, capsys, config, line):
    """Before any process is started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(config + "\n")
    code = main(["run", "x.yaml"])
    shown = capsys.readouterr()
    said_by(shown.err, code, line)
    assert shown.out == "" and len(shown.err.splitlines()) == 1 and not (tmp_path / ".snakemake").exists()


def test_results_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/mine").write_text("a file")
    (tmp_path / "x.yaml").write_text("name: mine\n")
    code = main(["run", "x.yaml"])
    said_by(capsys.readouterr().err, code, "results/mine: cannot be written")


@pytest.fixture
def corpus(tmp_path):
    """A folder of recordings with texts, and the table and config that `unisono corpus folder` makes of it."""
    for speaker in ("anna", "bob", "carl", "dora"):
        for number, text in enumerate(("one two", "two one", "two")):
            path = tmp_path / "recordings" / speaker / f"{speaker}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = np.rint(1000 * np.sin(np.arange(6000) * 0.3)).astype(np.int16)
            soundfile.write(path, wave, 8000)
            path.with_suffix(".txt").write_text(text)
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    with contextlib.chdir(tmp_path):
        assert main(["corpus", "folder", "recordings", "--lexicon", "lexicon.txt"]) == 0
    return tmp_path


COVERING = ("a recording is gone", "a word is gone from the lexicon")  # the others are as long, and marked slow


@pytest.mark.parametrize(
    "name", [name if name in COVERING else pytest.param(name, marks=pytest.mark.slow) for name in FOLDERS]
)
def test_a_folder_corpus(corpus, name):
    spoil, line = FOLDERS[name]
    spoil(corpus)
    done = process(corpus, "mine.yaml")
    said_by(done.stderr, done.returncode, line)
    assert done.stdout == ""


def test_another_one_makes_these_results(corpus):
    path = corpus / "results/mine/.lock"
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = process(corpus, "mine.yaml")
    shown = [one for one in done.stderr.splitlines() if not BAR.match(one)]
    assert done.returncode and len(shown) <= 3 and "another snakemake is making these results" in shown[0], done.stderr


@pytest.mark.slow
def test_a_malformed_language_model(corpus):
    (corpus / "corpora").mkdir()
    (corpus / "lm.arpa").write_text("\\data\\\nngram 1=x\n")
    done = process(corpus, "mine.yaml", f"lm={{kind: arpa, arpa: {corpus}/lm.arpa}}")
    said_by(done.stderr, done.returncode, "lm.arpa: line 2: expected 'ngram N=COUNT'")


@pytest.mark.slow
@pytest.mark.parametrize("library", ["mlflow", "wandb"])
def test_a_library_that_logging_needs(corpus, library):
    done = process(corpus, "mine.yaml", f"logging.{library}=true")
    shown = [one for one in done.stderr.splitlines() if not BAR.match(one)]
    assert done.returncode == 2 and shown == [
        f"unisono run: config: logging.{library}: {library} is not installed: pip install {library}"
    ]
