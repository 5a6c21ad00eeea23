"""The commands score, choose and compare, and the files that they write."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from unisono.score import tables, wer

TABLE = (
    "utterance_id\tspeaker_id\tpath\tduration_s\ttranscript\tshard\n"
    "ann-1\tann\t/a.flac\t1.0000\tONE TWO\t0\n"
    "ann-2\tann\t/b.flac\t1.0000\tTHREE\t1\n"
    'tom-1\ttom\t/c.flac\t1.0000\tTWO TWO "FOUR\t0\n'
)


@pytest.fixture
def folder(tmp_path):
    """A table of three utterances and the hypotheses of two shards, one utterance without."""
    (tmp_path / "test.tsv").write_text(TABLE)
    (tmp_path / "test.0.hyp").write_text('tom-1 TWO ONE "FOUR\nann-1 ONE TWO FIVE\n')
    (tmp_path / "test.1.hyp").write_text("")
    (tmp_path / "tune.json").write_text('{"acoustic_scale": 0.05, "word_insertion_penalty": 4.0, "dev_wer": 0.25}')
    return tmp_path


def unisono(folder, *arguments):
    command = [sys.executable, "-m", "unisono", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def score(folder, *more, out="out"):
    hypotheses = ("--hyp", "test.0.hyp", "test.1.hyp", "--system", "tri", "--seed", 1, "--out-dir", out)
    return unisono(folder, "score", "--table", "test.tsv", *hypotheses, *more)


def test_score_writes_its_five_files(folder):
    assert score(folder, "--tuned", "tune.json").returncode == 0
    out = folder / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "confusions.tsv", "hyp.txt", "per_speaker.tsv", "wer.json", "wer.txt"
    ]  # fmt: skip
    result = json.loads((out / "wer.json").read_text())
    assert result.pop("ci95")[0] <= 0.5 <= 1.0 and result.pop("cer_ci95")[0] < 12 / 22
    assert "3 utterances (only 2 speakers" in result.pop("ci_method")
    assert result == {
        "system": "tri", "wer": 0.5, "words": 6, "ins": 1, "del": 1, "sub": 1, "sentences": 3, "sentence_errors": 3,
        "missing": 1, "characters": 22, "character_errors": 12, "cer": 12 / 22, "dev_wer": 0.25, "lm_weight": 20.0,
        "word_insertion_penalty": 4.0,
    }  # fmt: skip
    # hyp.txt is what was decoded: the missing utterance is not made up.
    assert (out / "hyp.txt").read_text() == 'ann-1 ONE TWO FIVE\ntom-1 TWO ONE "FOUR\n'
    assert (out / "per_speaker.tsv").read_text().splitlines()[1:] == [
        "ann\t2\t3\t2\t0\t1\t1\t2\t0.666667\t2",
        "tom\t1\t3\t2\t1\t0\t0\t1\t0.333333\t1",
    ]
    assert (out / "confusions.tsv").read_text().splitlines()[1:] == [
        "deletion\t1\tTHREE\t", "insertion\t1\t\tFIVE", "substitution\t1\tTWO\tONE"
    ]  # fmt: skip


def test_a_setting_tuned_on_another_system_has_no_wer_on_dev(folder):
    assert score(folder, "--tuned-elsewhere", "tune.json").returncode == 0
    result = json.loads((folder / "out/wer.json").read_text())
    assert (result["dev_wer"], result["lm_weight"], result["word_insertion_penalty"]) == (None, 20.0, 4.0)


def test_wer_text_holds_kaldis_lines_the_table_and_the_alignments(folder):
    assert score(folder).returncode == 0
    text = (folder / "out" / "wer.txt").read_text()
    assert text.startswith(
        "%WER 50.00 [ 3 / 6, 1 ins, 1 del, 1 sub ]\n%SER 100.00 [ 3 / 3 ]\nScored 3 sentences, 1 not present in hyp.\n"
    )
    assert "| ann     |     2      3 |   66.7    0.0   33.3   33.3   66.7  100.0 |" in text
    assert "| Sum/Avg |     3      6 |   66.7   16.7   16.7   16.7   50.0  100.0 |" in text
    assert "id: ann-1\nScores: (#C #S #D #I) 2 0 0 1\nREF:  ONE TWO ****\nHYP:  ONE TWO FIVE\nEval:         I\n" in text
    assert json.loads((folder / "out" / "wer.json").read_text())["lm_weight"] is None


def test_score_gives_the_same_bytes_again(folder):
    score(folder, out="one")
    score(folder, out="two")
    for path in (folder / "one").iterdir():
        assert path.read_bytes() == (folder / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.1.hyp", "ann-1 ONE\n", "utterance ann-1 stands twice"),
        ("test.1.hyp", "zoe-1 ONE\n", "utterance zoe-1 has no reference"),
        ("test.tsv", "utterance_id\ttranscript\nann-1\tONE\n", "column 'speaker_id' is missing"),
        ("test.tsv", TABLE + TABLE.splitlines()[1], "utterance ann-1 stands twice"),
        ("tune.json", '{"acoustic_scale": 0.1}', "no usable 'dev_wer'"),
        ("tune.json", "{", "not readable as JSON"),
    ],
)
def test_mistakes_are_one_line(folder, name, content, message):
    (folder / name).write_text(content)
    done = score(folder, "--tuned", "tune.json")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out" / "wer.json").exists()


def test_choose_copies_the_candidate(folder):
    score(folder, out="runs/main/decode/ema")
    assert unisono(folder, "choose", "--from-dir", "runs/main/decode/ema", "--out-dir", "runs/main").returncode == 0
    for name in ("wer.json", "hyp.txt"):
        chosen = folder / "runs" / "main" / name
        assert chosen.read_bytes() == (folder / "runs" / "main" / "decode" / "ema" / name).read_bytes()
    missing = unisono(folder, "choose", "--from-dir", "runs/main/decode/last", "--out-dir", "runs/main")
    assert (missing.returncode, "score this candidate first" in missing.stderr) == (2, True)


@pytest.fixture
def results(folder):
    """The folder results/mine with the table of its test set, a run that made 3 errors and a GMM system with 1."""
    (folder / "test.1.hyp").write_text("ann-2\n")
    score(folder, out="results/mine/runs/main")
    (folder / "results/mine/gmm/tri").mkdir(parents=True)
    (folder / "results/mine/gmm/tri/hyp.txt").write_text('ann-1 ONE TWO\nann-2 THREE\ntom-1 TWO ONE "FOUR\n')
    (folder / "results/mine/data").mkdir()
    (folder / "results/mine/data/test.tsv").write_text(TABLE)
    (folder / "results/mine/data/corpus.json").write_text("{}")
    return folder / "results/mine"


def test_compare_takes_folders_and_files(folder, results):
    shutil.copy(results / "gmm/tri/hyp.txt", folder / "better.txt")
    done = unisono(folder, "compare", results / "runs/main", "better.txt", "--table", "test.tsv", "--out", "c.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"A   50.00 % +3 errors  .*/runs/main\nB   16.67 % +1 errors  better.txt\n", done.stdout)
    found = json.loads((folder / "c.json").read_text())
    # d = 1, 1, 0: mean 2/3, variance 1/3, z = (2/3) / sqrt((1/3) / 3) = 2
    assert found["z"] == pytest.approx(2.0)
    assert found["p"] == pytest.approx(0.0455, abs=1e-4)
    assert found["difference"] == pytest.approx(2 / 6)
    # Every draw of three utterances has a difference of 0 or more; three times the one that has none is likely enough.
    assert found["ci95"][0] == 0 and found["verdict"] == "at the edge"
    assert "A is 33.33 points worse than B: at the edge of chance (p says that they differ" in done.stdout


@pytest.mark.parametrize(
    "systems", [("results/mine/runs/main", "results/mine/gmm/tri"), ("loose.txt", "results/mine/gmm/tri/hyp.txt")]
)
def test_compare_finds_the_table_of_the_results(folder, results, systems):
    shutil.copy(results / "runs/main/hyp.txt", folder / "loose.txt")
    done = unisono(folder, "compare", *systems)
    assert done.returncode == 0 and "A   50.00 %" in done.stdout and "B   16.67 %" in done.stdout, done.stderr


def test_compare_takes_no_table_of_its_own_choice_where_two_differ(folder, results):
    other = folder / "results" / "other"
    shutil.copytree(results, other)
    both = ("compare", "results/mine/runs/main", "results/other/runs/main")
    assert unisono(folder, *both).returncode == 0
    (other / "data/test.tsv").write_text(TABLE.replace("THREE", "SIX"))
    done = unisono(folder, *both)
    assert done.returncode == 2 and "differ in utterances or transcripts: give the one to use" in done.stderr
    assert unisono(folder, *both, "--table", "test.tsv").returncode == 0


@pytest.mark.parametrize(
    ("a", "content", "message"),
    [
        ("h.txt", "ann-1 ONE TWO\n", "h.txt: 2 of 3 utterances of test.tsv have no hypothesis, the first ann-2: give"),
        ("h.txt", "ann-1\nann-2\ntom-1\nzoe-2\nzoe-1\n", "2 of 5 hypotheses are of utterances that test.tsv lacks, "
         "the first zoe-1"),
        (".", "", ".: no hyp.txt in this folder: give results/<name>/runs/<run>"),
        ("nowhere", "", "nowhere: cannot be read"),
    ],
)  # fmt: skip
def test_compare_refuses_what_cannot_be_compared(folder, a, content, message):
    (folder / "h.txt").write_text(content)
    (folder / "whole.txt").write_text("ann-1\nann-2\ntom-1\n")
    for order in ((a, "whole.txt"), ("whole.txt", a)):
        done = unisono(folder, "compare", *order, "--table", "test.tsv")
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_compare_without_any_table(folder):
    done = unisono(folder, "compare", "a.txt", "b.txt")
    assert done.returncode == 2 and "--table: missing: neither a.txt nor b.txt lies in results/<name>/" in done.stderr


def test_confusions_are_sorted_by_frequency_then_by_words():
    pairs = [wer.align(["a", "b"], ["x", "b"])] * 2 + [wer.align(["c"], ["d"]), wer.align(["c"], ["b"])]
    assert tables.confusions(pairs) == [
        ("substitution", 2, "a", "x"), ("substitution", 1, "c", "b"), ("substitution", 1, "c", "d")
    ]  # fmt: skip
