"""A user's mistake is one line on the terminal and a return code that is not 0."""

import contextlib
import fcntl

import numpy as np
import pytest
import soundfile

from tests.support.mistakes import CONFIGS


@contextlib.contextmanager
def holding(path):
    """Hold a lock as another process would; one of this process counts, as it is the open file that holds it."""
    path.parent.mkdir(parents=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lines_with(text, output):
    return [line for line in output.splitlines() if text in line]


@pytest.mark.parametrize(("config", "line"), CONFIGS)
def test_wrong_config(workspace, config, line):
    process = workspace.run("--dry-run", config=workspace.config("wrong.yaml", f"name: wrong\n{config}\n"))
    assert process.returncode == 1
    assert len(lines_with(f"config: {line}", process.stdout)) == 1, process.stdout
    assert "Traceback" not in process.stdout


def test_study_without_one(workspace):
    process = workspace.run("study", "--dry-run", config=workspace.config("mine.yaml", "name: mine\n"))
    assert process.returncode == 1 and len(lines_with("config: study: missing: this config has", process.stdout)) == 1


def test_results_that_cannot_be_written(workspace):
    config = workspace.config("mine.yaml", "name: mine\n")
    (workspace.folder / "results").mkdir(exist_ok=True)
    (workspace.folder / "results" / "mine").write_text("a file")
    process = workspace.run("--dry-run", config=config)
    assert process.returncode == 1 and "Traceback" not in process.stdout
    assert len(lines_with("config: name: results/mine: cannot be written: results/mine is no", process.stdout)) == 1


def test_two_at_a_time_are_one_too_many(workspace):
    config = workspace.config("mine.yaml", "name: mine\n")
    with holding(workspace.folder / "results" / "mine" / ".lock"):
        process = workspace.run("results/mine/data/corpus.json", config=config)
    assert process.returncode == 1 and not (workspace.folder / "results" / "mine" / "data").exists()
    assert len(lines_with("results/mine: another snakemake is making these results: wait", process.stdout)) == 1


def test_missing_name(workspace):
    process = workspace.run("--dry-run", config=workspace.config("wrong.yaml", "seed: 1\n"))
    line = "config: name: missing: give one: Name of the experiment; its results lie in results/<name>/"
    assert process.returncode == 1 and process.stdout.splitlines().count(line) == 1, process.stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\nseed: 1\nlm: loop\nseed: 2\n", "line 4: seed stands already in line 2: remove one"),
        ("name: x\nruns:\n  a:\n    seed: 1\n    seed: 1\n", "line 5: seed stands already in line 4: remove one"),
    ],
)
def test_a_key_that_stands_twice(workspace, text, line):
    good = workspace.config(
        "good.yaml", "name: x\nseed: 3\nruns: {a: &one {seed: 4}, b: *one, c: {<<: *one, seed: 5}}\n"
    )
    assert workspace.run("--dry-run", config=good).returncode == 0
    wrong = workspace.config("wrong.yaml", text)
    process = workspace.run("--dry-run", config=[good, wrong])
    assert process.returncode == 1 and lines_with(f"config: {wrong}: {line}", process.stdout), process.stdout


def test_a_key_of_another_kind_is_logged(workspace):
    mine = workspace.config("mine.yaml", "name: x\noptimiser: {kind: sgd, ng: {alpha: 3}}\n")
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 0
    assert lines_with("config: optimiser.ng: not used with kind sgd", process.stdout)


def test_error_of_a_command_is_on_the_terminal(workspace):
    """A corpus table without a column: the command's own line, named file and remedy, and snakemake fails."""
    folder = workspace.folder / "corpora" / "mine"
    folder.mkdir(parents=True)
    (folder / "utterances.tsv").write_text("utterance_id\tspeaker_id\tpath\ttranscript\na\tb\tc.wav\tYES\n")
    (folder / "lexicon.txt").write_text("YES  Y EH S\n")
    mine = workspace.config("mine.yaml", "name: mine\ncorpus: {kind: table, dir: mine}\n")
    process = workspace.run(config=mine)
    assert process.returncode == 1
    found = lines_with("unisono corpus: error: ", process.stdout)
    assert found and "utterances.tsv" in found[0] and "split" in found[0], process.stdout[-3000:]
    assert "Traceback" not in process.stdout


def test_a_table_of_speakers_that_the_report_cannot_use_is_named_before_work(workspace):
    (workspace.folder / "corpora").mkdir()
    table = workspace.folder / "corpora" / "s.tsv"
    table.write_text("speaker_id\tgender\nanna\tf\n")
    mine = workspace.config("mine.yaml", "name: mine\nreport: {speakers: s.tsv, classes: {age: 16}}\n")
    process = workspace.run("--dry-run", config=mine)
    line = "config: report.speakers: corpora/s.tsv: line 1: column 'age' is missing: it has speaker_id, gender"
    assert process.returncode == 1 and len(lines_with(line, process.stdout)) == 1, process.stdout[-3000:]
    table.write_bytes(b"\xef\xbb\xbfspeaker_id\tage\r\nanna\t9\r\n")
    assert workspace.run("--dry-run", config=mine).returncode == 0
    table.write_text("speaker_id\tage\nanna\t9\n\nberta\tten\n")
    line = (
        "config: report.speakers: corpora/s.tsv: line 4: age is no number: correct it, or set report.classes.age: each"
    )
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 1 and len(lines_with(line, process.stdout)) == 1, process.stdout[-3000:]


def test_a_malformed_language_model_is_named_before_features_are_made(workspace):
    folder = workspace.folder / "corpora" / "mine"
    folder.mkdir(parents=True)
    heading, rows = "utterance_id\tspeaker_id\tpath\ttranscript\tsplit", []
    for split in ("train", "dev", "test"):
        rows.append(f"{split}\t{split}\t{split}.wav\tYES\t{split}")
        soundfile.write(folder / f"{split}.wav", np.arange(8000, dtype=np.int16), 8000)
    (folder / "utterances.tsv").write_text("\n".join([heading, *rows]) + "\n")
    (folder / "lexicon.txt").write_text("YES  Y EH S\n")
    (folder / "lm.arpa").write_text("\\data\\\nngram 1=x\n")
    mine = workspace.config(
        "mine.yaml", "name: mine\ncorpus: {kind: table, dir: mine}\nlm: {kind: arpa, arpa: mine/lm.arpa}\n"
    )
    process = workspace.run(config=mine, cores=1)
    assert process.returncode == 1
    found = lines_with("unisono lm: error: ", process.stdout)
    assert found and "lm.arpa: line 2: expected 'ngram N=COUNT'" in found[0], process.stdout[-3000:]
    assert "Features" not in process.stdout and "Traceback" not in process.stdout


def test_missing_corpus_is_named(workspace):
    mine = workspace.config("mine.yaml", "name: mine\ncorpus: {kind: table, dir: mine}\n")
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 1 and "corpora/mine/utterances.tsv" in process.stdout
    assert "corpora_dir" in process.stdout
