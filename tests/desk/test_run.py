"""`unisono run`: one bar that never goes back, and a mistake that is one line."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.events import events_of
from unisono.command import main
from unisono.desk import snakemake
from unisono.desk.course import RULES, STAGE, Course

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "config/spoken_small.yaml"


def run(folder, *words, timeout=600):
    command = [sys.executable, "-m", "unisono", "run", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)


def test_each_rule_has_a_stage():
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = re.findall(r"^ *(?:(?:rule|checkpoint)|use rule \w+ as) (\w+)", text, flags=re.MULTILINE)
    assert sorted(rules) == sorted(STAGE) and sum(map(len, RULES.values())) == len(STAGE)


class TestCourse:
    weights = {"corpus": 10.0, "train": 80.0, "score": 10.0}

    def test_it_is_the_part_of_the_weights_that_is_done(self):
        course = Course(self.weights)
        course.plan({"corpus": 2, "finish": 1, "score": 1, "all": 1, "total": 5})
        course.finish_job("corpus")
        assert course.fraction == pytest.approx(0.05)
        course.train(0.5)
        assert course.fraction == pytest.approx(0.45) and course.left_s() == pytest.approx(55)
        course.finish_job("corpus")
        course.train(1.0)
        assert course.fraction == pytest.approx(0.9)
        course.finish_job("score")
        assert course.fraction == 0.99
        course.end()
        assert course.fraction == 1

    def test_what_becomes_known_later_moves_nothing_back(self):
        course = Course(self.weights)
        course.plan({"corpus": 1, "finish": 1, "score": 2})
        course.finish_job("corpus")
        course.train(0.5)
        before = course.fraction
        course.weigh({"corpus": 10.0, "train": 8000.0, "score": 10.0})
        assert course.fraction == before
        course.train(0.4)
        assert course.fraction == before
        course.train(0.75)
        assert before < course.fraction < 1
        course.plan({"score": 2})
        assert course.fraction > before
        course.finish_job("score")
        course.finish_job("score")
        assert course.fraction == 0.99

    def test_jobs_that_belong_to_no_stage_and_too_many_jobs(self):
        course = Course({})
        course.plan({"all": 1, "total": 1, "corpus": 1})
        course.finish_job("all")
        assert course.fraction == 0
        course.finish_job("corpus")
        course.finish_job("corpus")
        assert course.fraction == 0.99

    def test_a_job_counts_as_far_as_it_is(self):
        course = Course({"tune": 100.0})
        course.plan({"tune_gmm": 1, "tune_dnn": 1})
        course.work([("tune_gmm", 0.5)])
        assert course.fraction == pytest.approx(0.25) and course.left_s() == pytest.approx(75)
        course.work([])
        course.finish_job("tune_gmm")
        assert course.fraction == pytest.approx(0.5), "once, not half more"

    def test_nothing_to_do(self):
        course = Course(self.weights)
        course.plan({})
        course.train(1.0)
        assert course.fraction == 0


SILENT = "snakemake failed and did not say why: --verbose shows all it prints"
WORKFLOW_ERROR = """WorkflowError in file "a.smk", line 3:
config: seed: wrong
  File "a.smk", line 3, in f"""


def test_command():
    line = snakemake.command(["a.yaml", "b.yaml"], 3, ["study"], ["--dry-run"])
    assert line[:4] == [sys.executable, "-m", "snakemake", "study"] and line[-3:] == [
        "--configfile",
        "a.yaml",
        "b.yaml",
    ]
    assert line[line.index("--cores") + 1] == "3" and "--dry-run" in line


@pytest.mark.parametrize(
    ("failed", "printed", "expected"),
    [
        (
            [{"event": "job_error", "log": []}],
            ["unisono corpus: error: x: y: z\n", "unisono corpus: error: x: y: z\n", "noise\n"],
            ["unisono corpus: error: x: y: z"],
        ),
        (
            [{"event": "error", "text": WORKFLOW_ERROR}],
            [],
            ["config: seed: wrong"],
        ),
        (
            [{"event": "error", "text": "LockException:\nIt is locked.\nUse --unlock"}],
            [],
            ["LockException: It is locked. Use --unlock"],
        ),
        ([], ["Traceback (most recent call last):\n", '  File "x", line 1\n', "ValueError: a\n"], ["ValueError: a"]),
        ([], ["Using workflow specific profile x\n"], [SILENT]),
    ],
)  # fmt: skip
def test_reasons(failed, printed, expected):
    assert snakemake.reasons(failed, printed) == expected


def test_the_log_of_a_command_that_died_silently(tmp_path):
    (tmp_path / "a.log").write_text("begin\nlast words\n")
    failed = [{"event": "job_error", "log": [str(tmp_path / "a.log")]}]
    assert snakemake.reasons(failed, []) == ["last words", f"log: {tmp_path / 'a.log'}"]


MISTAKES = [
    ("name: x\noptimizer: {}", [], "optimizer: unknown key: did you mean optimiser?"),
    ("name: x", ["parallel.workers=0"], "parallel.workers: 0 is out of range"),
    ("name: x", ["parallel"], "parallel: no such file"),
    ("name: x\ncorpus: {kind: table, dir: mine}", [], "corpora/mine/utterances.tsv: no such file"),
    ("name: x\nlm: {kind: arpa, arpa: no.arpa}", [], "lm.arpa: corpora/no.arpa: no such file"),
    ("name: x", ["--cores", "0"], "--cores: 0: give at least 1"),
]


@pytest.mark.parametrize(("config", "words", "said"), MISTAKES)
def test_a_mistake_is_one_line(tmp_path, config, words, said):
    (tmp_path / "x.yaml").write_text(config + "\n")
    done = run(tmp_path, "x.yaml", *words)
    shown = [line for line in done.stderr.splitlines() if not re.match(r" *[\d.]+ %", line)]
    assert done.returncode == 2 and len(shown) == 1 and said in shown[0], done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_a_mistake_that_a_command_finds(tmp_path):
    folder = tmp_path / "corpora/mine"
    folder.mkdir(parents=True)
    (folder / "utterances.tsv").write_text("utterance_id\tspeaker_id\tpath\ttranscript\na\tb\tc.wav\tYES\n")
    (folder / "lexicon.txt").write_text("YES  Y EH S\n")
    (tmp_path / "x.yaml").write_text("name: x\ncorpus: {kind: table, dir: mine}\n")
    locks = tmp_path / ".snakemake/locks"  # as a Snakemake that was killed leaves them
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/x/data/corpus.json\n")
    (locks / "0.input.lock").write_text("corpora/mine/utterances.tsv\n")
    done = run(tmp_path, "x.yaml")
    shown = [line for line in done.stderr.splitlines() if not re.match(r" *[\d.]+ %", line)]
    assert done.returncode == 2 and len(shown) == 2, done.stderr
    assert shown[0].startswith("unisono corpus: error: ") and "column 'split' is missing" in shown[0]
    assert shown[1] == "unisono run: log: results/x/logs/corpus/corpus.log"


def test_interrupted_it_says_how_to_resume(tmp_path):
    """Ctrl-C reaches the whole group, as `timeout -s INT` does."""
    command = [sys.executable, "-m", "unisono", "run", str(SMALL)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes) as process:
        for line in process.stderr:
            if "Corpus" in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        said = process.stderr.read().splitlines()
        assert process.wait(60) == 130
    assert said[-1] == "interrupted: to resume, run the same command again"


def test_dry_run_shows_the_jobs(tmp_path):
    done = run(tmp_path, SMALL, "--dry-run", "name=other")
    assert done.returncode == 0 and "This was a dry-run" in done.stdout + done.stderr
    assert not (tmp_path / "results/other/data").exists()


WORDS = ["corpus.spoken.train_sentences=24", "corpus.spoken.train_voices=3", "corpus.spoken.test_sentences=6",
         "corpus.spoken.dev_sentences=6", "schedule.epochs=3", "parallel.period_frames=1500",
         "logging.tensorboard=true", "hmm.mono.iterations=4", "hmm.tri.iterations=2", "hmm.tri.leaves=40",
         "hmm.tri.gaussians=80"]  # fmt: skip


def only_rises(bar):
    """Check the lines of the bar: 0 % first, 100 % last, never back, and more than the ends."""
    rows = [re.match(r" *([\d.]+) %  (.*)", line) for line in bar.splitlines()]
    assert all(rows), bar
    percents = [float(row[1]) for row in rows if row]
    assert percents == sorted(percents) and percents[-1] == 100 and percents[0] == 0
    assert 10 < max(p for p in percents if p < 100)


def said_as_json(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "engine",
    ["virtual", pytest.param("jobs", marks=pytest.mark.slow),
     pytest.param("sync", marks=[pytest.mark.slow, pytest.mark.mpi])],
)  # fmt: skip
def test_a_whole_run(tmp_path, capsys, engine):
    """A small run: the bar, the last lines, status, list and event files against what the run left."""
    words = [*WORDS, f"parallel.engine={engine}"]
    done = run(tmp_path, SMALL, *words)
    assert done.returncode == 0, done.stderr
    only_rises(done.stderr)
    root = tmp_path / "results/spoken_small"
    wer = json.loads((root / "runs/main/wer.json").read_text())
    assert f"{100 * wer['wer']:.2f} %" in done.stdout and "report/index.html" in done.stdout

    rows = [json.loads(line) for line in (root / "runs/main/metrics.jsonl").read_text().splitlines()]
    objectives = [row["objective_dev"] for row in rows if row["worker"] is None]
    status = said_as_json(capsys, "status", str(root))
    told = status["runs"]["main"]
    assert status["finished"] and not status["running"] and status["error"] is None
    assert told["done"] == told["iterations"] == len(objectives) and told["training_seconds_left"] == 0
    assert status["fraction"] == 1 and status["seconds_left"] == 0 and not (root / ".progress.json").exists()
    assert told["objective_dev"] == objectives[-1] and told["wer"] == wer["wer"]
    assert told["objective_dev_change"] == pytest.approx(objectives[-1] - objectives[-2])
    assert told["learning_rate"] == rows[-1]["learning_rate"]
    assert told["rejected"] == sum(bool(row["rejected"]) for row in rows if row["worker"] is not None)
    (entry,) = said_as_json(capsys, "list", str(tmp_path / "results"))
    gmm = json.loads((root / "gmm/tri/wer.json").read_text())
    assert (entry["wer"], entry["ci95"], entry["gmm_wer"]) == (wer["wer"], wer["ci95"], gmm["wer"])
    written = events_of(root / "runs/main/tensorboard")
    assert [written["objective_dev", i] for i in range(len(objectives))] == pytest.approx(objectives)
    assert written["wer", len(objectives) - 1] == pytest.approx(wer["wer"])

    assert main(["clean", str(root), "--all", "--yes"]) == 0 and not list((root / "features").rglob("*.h5"))
    again = run(tmp_path, SMALL, *words)
    assert again.returncode == 0 and "all is there already" in again.stdout
    assert again.stdout.splitlines()[1:] == done.stdout.strip().splitlines(), "the answer once more"
    assert os.listdir(tmp_path) == [".snakemake", "results"] or sorted(os.listdir(tmp_path))[-1] == "results"
