"""The report: what it gathers, that it escapes, that its files repeat."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import xml.dom.minidom
from html.parser import HTMLParser

import pytest

from tests.support.settings import run_settings
from unisono.config.build import build
from unisono.config.run import Run
from unisono.data.corpus.references import read_references
from unisono.data.corpus.speaker_classes import read_classes
from unisono.desk import page
from unisono.desk.advice import best_system
from unisono.desk.answer import make_answer
from unisono.desk.last_lines import last_lines, sentence
from unisono.errors import UserError
from unisono.score import comparison, gather, pages, plots, report, statistics, summary, training_pages
from unisono.score.classes import by_class
from unisono.score.results import read_hypotheses
from unisono.score.wer import Counts, evaluate

HOSTILE = '<script>alert("x")</script> & $x$ -->'
PAGES = [
    "index.html", "wer.html", "speakers.html", "confusions.html", "corpus.html", "alignment.html", "time.html",
    "runs/main/iterations.html", "runs/main/ledger.html",
]  # fmt: skip
PICTURES = [
    "wer.svg", "alignment.svg", "time.svg", "runs/main/learning_curve.svg", "runs/main/frame_accuracy.svg"
]  # fmt: skip
RESULTS = ["gmm/tri", "runs/main/decode/last", "runs/main/decode/ema"]


def worker(iteration, name, objective, **more):
    times = dict.fromkeys(["start", "load", "wait", "average", "write"], 0.5) | {"compute": 2.0}
    row = {
        "iteration": iteration, "worker": name, "frames": 100, "objective_train": objective, "objective_dev": None,
        "frame_accuracy": 0.25, "learning_rate": 0.01, "rejected": False,
    }  # fmt: skip
    return row | {f"seconds_{phase}": seconds for phase, seconds in times.items()} | more


def combined(iteration, **more):
    return worker(iteration, None, -2.0, frames=200, objective_dev=-2.5, **more)


@pytest.fixture
def root(tmp_path, finished):
    """A copy of the results of a small pipeline."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Results of a small pipeline, with hostile text wherever text of a user goes."""
    tmp_path = tmp_path_factory.mktemp("finished")

    def put(path, content):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    words = HOSTILE.replace(" ", "_")
    put("data/test.tsv", f"utterance_id\tspeaker_id\ttranscript\nu1\ts{words}\tA {words}\nu2\tt\tB C\n")
    facts = {"utterances": 9, "speakers": 2, "words": 20, "seconds": 60.0}
    put("data/corpus.json", {
        "splits": {"train": facts, "test": facts}, "sampling_rate": 8000,
        "quarantined": [{"utterance_id": f"u{i}", "split": split, "reason": HOSTILE}
                        for i, split in enumerate(["test", "train", "test"])],
        "unknown_words": {"train": 5, "dev": 0, "test": 3},
    })  # fmt: skip
    failed = [{"utterance_id": "u3", "reason": HOSTILE}]
    counts = {"aligned": 8, "retried": 1, "frames": 800, "log_likelihood_per_frame": -70.5, "failed": failed}
    put("hmm/tri/ali.train.json", counts)
    put("hmm/tri/train.json", {"iterations": [{"iteration": i, "log_likelihood_per_frame": -80.0 + i} for i in (0, 1)]})
    left_out = [{"utterance_id": "u4", "reason": HOSTILE}]
    put("frames/frames.json", {"train": {"frames": 800, "utterances": 7, "left_out": left_out}, "dim": 3})
    put("benchmarks/train/a.tsv", "s\th:m:s\tmax_rss\tcpu_time\n2.5\t0:00:02\t100.5\t2.0\n")
    put("benchmarks/train/main/b.tsv", "s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\tNA\t-\n")
    put("benchmarks/train/main/c.tsv", "s\th:m:s\tmax_rss\tcpu_time\n1.0\t0:00:01\t10.0\t0.1\n")
    put("benchmarks/train/main.c.served", "cpu_time\tmax_rss\n3.00\t200.50\n")
    rejected = worker(1, 1, None, rejected=True, reason=HOSTILE)
    rows = [worker(0, 1, -3.0), worker(0, 0, -3.1), combined(0), worker(1, 0, -2.1), rejected, combined(1)]
    put("runs/main/metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    account = {"seen": 200, "discarded": 0, "dropped": 0, "repeated": 0}
    put("runs/main/ledger.json", {"workers": {"0": account, "1": account}, "corpus_frames": 200, "epochs": 2.0})
    (tmp_path / "good.hyp").write_text(f"u1 A {words}\nu2 B\n")
    (tmp_path / "bad.hyp").write_text(f"u1 A {words}x\nu2 X Y\n")
    for folder in RESULTS:
        run_unisono(
            tmp_path, "score", "--table", "data/test.tsv", "--hyp", "good.hyp" if "ema" in folder else "bad.hyp",
            "--system", folder, "--seed", 1, "--out-dir", folder,
        )  # fmt: skip
    run_unisono(tmp_path, "choose", "--from-dir", "runs/main/decode/ema", "--out-dir", "runs/main")
    return tmp_path


def run_unisono(folder, *arguments):
    command = [sys.executable, "-m", "unisono", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def make_report(root, *more):
    flags = ["--root", ".", "--results", *RESULTS, "--runs", "main", "--align", "mono", "tri", "--seed", 1]
    run_unisono(root, "report", *flags, *more)
    return root / "report"


class Reader(HTMLParser):
    """Collect tags and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def read_page(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.tags, "\n".join(reader.text)


def test_the_report_is_complete_escaped_and_repeats(root):
    out = make_report(root)
    made = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert sorted(made) == sorted([*PAGES, *PICTURES, "summary.txt", "summary.json", "answer.json"])

    hostile_word = HOSTILE.replace(" ", "_")
    told = {"corpus.html": HOSTILE, "alignment.html": HOSTILE, "runs/main/iterations.html": HOSTILE,
            "confusions.html": hostile_word, "speakers.html": "s" + hostile_word}  # fmt: skip
    for name in PAGES:
        tags, text = read_page(out / name)
        assert "script" not in tags
        assert told.get(name, "") in text
    for name in PICTURES:
        assert b"<script" not in made[name]
        assert xml.dom.minidom.parseString(made[name]).documentElement.tagName == "svg"

    make_report(root)
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == made


def shown(root):
    """The first page's text on one line, its tags, and the numbers that it was made from."""
    reader = Reader()
    reader.feed(re.sub(r"<style.*?</style>", "", (root / "index.html").read_text("utf-8"), flags=re.DOTALL))
    return " ".join(" ".join(reader.text).split()), reader.tags, json.loads((root / "answer.json").read_text())


def test_each_number_of_the_first_page_is_that_of_its_json(root):
    text, tags, answer = shown(make_report(root))
    assert tags.count("svg") == 3 and not {"script", "img", "link"} & set(tags), "one file, nothing loaded"
    wers = [json.loads((root / folder / "wer.json").read_text()) for folder in RESULTS]
    assert [(s["wer"], s["ci95"], s["words"]) for s in answer["systems"]] == [
        (w["wer"], w["ci95"], w["words"]) for w in wers
    ]  # fmt: skip
    for system, numbers in zip(answer["systems"], wers, strict=True):
        low, high = (f"{100 * limit:.2f}" for limit in numbers["ci95"])
        errors = numbers["ins"] + numbers["del"] + numbers["sub"]
        row = f"{system['name']} – {100 * numbers['wer']:.2f} {low} to {high} {errors} {numbers['words']}"
        assert row in text, (row, text)
    best = wers[2]
    assert text.split("%")[0].endswith(f"{100 * best['wer']:.2f} "), "the page is headed by the run's result"
    compared = comparison.compare(
        *read_references(str(root / "data/test.tsv")), *(read_hypotheses(root / RESULTS[i]) for i in (2, 0)), seed=1
    )
    row = answer["against_gmm"][0]
    assert (row["p"], row["difference"], row["ci95"]) == (
        compared["p"], compared["difference"], compared["ci95"]
    )  # fmt: skip
    assert sentence(row)[1:] in text and f"is {100 * -row['difference']:.2f} points better than tri GMM" in text
    assert row["verdict"] == compared["verdict"] and comparison.in_words(compared) in text
    corpus = json.loads((root / "data/corpus.json").read_text())["splits"]
    assert answer["splits"] == corpus and answer["set_aside"] == {"train": 1, "dev": 0, "test": 2}
    assert "train 1.0 min 9 2 20 1" in text and "test 1.0 min 9 2 20 2" in text
    assert answer["seconds"] == 5.0 and answer["cpu_seconds"] == 5.0 and "took 5 s, 5 s of CPU time" in text
    run = answer["training"]["main"]
    assert (run["iterations"], run["frames"], run["rejected"]) == (2, 400, 1)
    assert "2 iterations over 400 frames; dev objective -2.50, train -2.00" in text
    assert all(warning[1:] in text for warning in answer["warnings"])
    off = 50 * (wers[2]["ci95"][1] - wers[2]["ci95"][0])
    few_words, few_speakers = answer["warnings"][:2]
    assert f"only 20 words: the {100 * best['wer']:.2f} % of main, ema could be off by {off:.0f} points" in few_words
    assert "only 2 speakers" in few_speakers


def test_links_of_the_first_page_lead_to_files(root):
    out = make_report(root)
    links = re.findall(r'<a href="([^"]+)"', (out / "index.html").read_text())
    assert len(links) > 8 and [link for link in links if not (out / link).is_file()] == []


def test_last_lines(root):
    make_report(root)
    done = subprocess.run(
        [sys.executable, "-m", "unisono", "answer", "."], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads((root / "report/answer.json").read_text())
    assert done.stdout.splitlines()[1:] == last_lines(answer, ".")
    assert "  main, ema    25.00 %  [" in done.stdout and "report: ./report/index.html" in done.stdout
    assert sentence(answer["against_gmm"][0]) in done.stdout and "warning: the test set has only" in done.stdout
    assert "run main: dev objective -2.50 (mean log-probability of the right state per frame, 0 is" in done.stdout
    assert "* a run's result; main, ema: run main, its model ema; GMM: without a network" in done.stdout
    assert "were chosen on dev" not in done.stdout, "nothing was tuned"
    assert "next: unisono transcribe --system ./runs/main recording.wav" in done.stdout


EDGE = "at the edge of chance"


@pytest.mark.parametrize(
    ("difference", "ci95", "p", "said"),
    [
        (-0.02, [-0.03, -0.01], 0.001, "better than tri GMM, 95 % interval [1.00, 3.00], p = 0.0010: more than chance"),
        (0.02, [0.01, 0.03], 0.001, "worse than tri GMM, 95 % interval [1.00, 3.00], p = 0.0010: more than chance"),
        (-0.02, [-0.03, 0.01], 0.2, "better than tri GMM, 95 % interval [-1.00, 3.00], p = 0.2000: no more than"),
        (-0.02, [-0.03, 0.0], 0.04, f"[0.00, 3.00], p = 0.0400: {EDGE} (p says that they differ, the interval does"),
        (0.02, [0.01, 0.03], 0.2, f"[1.00, 3.00], p = 0.2000: {EDGE} (the interval says that they differ, p does"),
        (-0.02, [-0.03, -0.01], 0.00001, "p < 0.0001"),
    ],
)
def test_sentence(difference, ci95, p, said):
    """The interval has the sense of the sentence; p and interval must both say that two systems differ."""
    row = {"difference": difference, "ci95": ci95, "p": p, "verdict": statistics.verdict(p, ci95)}
    assert sentence(row | {"run": "a", "gmm": "tri GMM"}).startswith("run a is 2.00 points ")
    assert said in sentence(row | {"run": "a", "gmm": "tri GMM"})
    assert "than run b," in sentence(row | {"run": "a", "other": "b"})
    even = row | {"difference": 0.0, "run": "a", "other": "b"}
    assert sentence(even).startswith("run a has the error rate of run b, 95 % interval [")


def test_every_page_and_command_gives_one_verdict(root):
    """Ten words of one speaker: p of matched pairs is under 0.05, the interval touches 0."""
    found = gather.gather(root, RESULTS, ["main"], [])
    references = {f"u{i}": [f"w{i}"] for i in range(10)}
    speakers = dict.fromkeys(references, "s")

    def heard(wrong):
        return {u: ["x"] if i < wrong else words for i, (u, words) in enumerate(references.items())}

    errors = {"gmm/tri": 7, "runs/main/decode/last": 7, "runs/main/decode/ema": 4}
    counts = {folder: evaluate(references, heard(wrong)).counts for folder, wrong in errors.items()}
    answer = make_answer(found, counts, speakers, 1)
    row = answer["against_gmm"][0]
    assert (row["verdict"], f"{row['p']:.4f}", row["ci95"][1]) == ("at the edge", "0.0495", 0.0)
    first = page.first_page(answer, {"main": found.runs[0].combined})
    assert f"30.00 points better than tri GMM, 95 % interval [0.00, 60.00], p = 0.0495: {EDGE}" in first
    table = report.wer_page(found.results, counts, speakers, 1)
    assert table.count("0.0495 at the edge") == 4 and table.count(">1.0000<") == 2, "ema and the other two, both ways"
    compared = comparison.compare(references, speakers, heard(7), heard(4), seed=1)
    printed = comparison.format_comparison(compared, "gmm", "run")
    assert f"A is 30.00 points worse than B: {EDGE}" in printed
    assert all(comparison.RULE in text for text in (first, table, printed))


@pytest.fixture
def answered(root):
    """Numbers of a sound result (600 words of 6 speakers, an hour of speech) and its answer after `change`."""
    found = gather.gather(root, RESULTS, ["main"], [])
    counts = {r.folder: {f"u{i}": Counts(words=10, substitutions=i % 2) for i in range(60)} for r in found.results}
    speakers = {f"u{i}": f"s{i % 6}" for i in range(60)}
    facts = {"utterances": 60, "speakers": 6, "words": 600, "seconds": 3600.0}
    found.corpus["splits"] = {split: dict(facts) for split in ("train", "dev", "test")}
    for result in found.results:
        result.numbers.update(wer=0.1, words=600, ci95=[0.09, 0.11])
    return found, lambda: make_answer(found, counts, speakers, 1)


def told(lines, *parts):
    """Whether one line holds all parts."""
    return any(all(part in line for part in parts) for line in lines)


def test_a_run_that_trains_too_long_is_told_how_long(answered):
    found, answer_now = answered
    run = found.runs[0]
    run.combined[0]["objective_dev"], run.combined[1]["objective_dev"] = -2.75, -2.78
    sound = answer_now()
    assert not told(sound["warnings"], "by heart"), "0.03 nats are flat"
    assert sound["next"][0].startswith("the network is not better than the GMM"), "a difference of 0"
    run.combined[1]["objective_dev"] = -2.9
    given = run_settings(parallel={"workers": {"initial": 1, "final": 4}}, schedule={"kind": "fixed", "epochs": 2})
    found.runs[0] = dataclasses.replace(run, settings=build(Run, given))
    answer = answer_now()
    assert told(answer["warnings"], "fell from -2.75 to -2.90: it learns its training set")
    step = answer["next"][0]
    assert "try schedule.epochs: 1 (its best was after 1.0 of 2)" in step, step
    assert "network.dropout: 0.2, or speed_perturbation: [0.9, 1.1]" in step
    assert page.workers(answer["training"]["main"]["workers"]) == "1 to 4 workers" and page.workers(1) == "1 worker"
    found.corpus["splits"]["perturbed"] = found.corpus["splits"]["train"]
    given["network"] |= {"dropout": 0.3}
    found.runs[0] = dataclasses.replace(run, settings=build(Run, given))
    step = answer_now()["next"][0]
    assert "more network.dropout than 0.3" in step and "speed_perturbation" not in step


def test_what_makes_a_recogniser_useless_is_told(answered):
    found, answer_now = answered
    assert not told(answer_now()["warnings"], "test set") and not told(answer_now()["warnings"], "words")
    for result in found.results:
        result.numbers.update(wer=1.14, ins=54)
    answer = answer_now()
    reason = "transcripts or a lexicon that do not fit the recordings"
    assert told(answer["warnings"], "main, ema (54 of them inserted words): writing nothing has 100 %", reason)
    assert answer["next"][0].startswith("most words are wrong: listen")
    found.corpus["splits"]["train"]["seconds"] = 708.0
    found.unseen.update(dev=30, test=192)
    answer = answer_now()
    assert told(answer["warnings"], "only 11.8 min of training speech and 32 % of the test words are new")
    assert told(answer["warnings"], "language model's text never has: test 192 of 600 (32 %)"), "dev: 5 % are few"
    assert "Test: 192 of 600 words never occur in the language model's text." in page.first_page(answer, {})
    assert [step.split(":")[0] for step in answer["next"][:2]] == [
        "text for the language model (corpus.lm_text)", "more speech"
    ]  # fmt: skip
    for result in found.results:
        result.numbers.update(wer=0.4, words=10, ci95=[0.1, 0.7])
    found.corpus["splits"]["test"]["words"] = 10
    answer = answer_now()
    assert answer["next"][0].startswith("more test words first: 10 cannot") and not told(answer["warnings"], "100 %")


def test_speakers_and_scales_are_told_on_the_first_page(answered):
    found, answer_now = answered
    chosen = found.results[-1]
    rows = [("a", 60, 0.9), ("b", 60, 1.4), ("c", 49, 0.0)]
    chosen.speakers[:] = [{"speaker_id": name, "words": str(n), "wer": f"{wer:.6f}"} for name, n, wer in rows]
    tried = [{"acoustic_scale": scale, "errors": errors} for scale, errors in ((0.1, 7), (0.2, 9))]
    chosen.tuned.update(system="dnn", acoustic_scale=0.1, tried=tried)
    answer = answer_now()
    assert [row["speaker"] for row in answer["speakers"]] == ["a", "b"], "49 words of c say little"
    assert told(answer["warnings"], "far apart, 90.00 % (a) to 140.00 % (b): listen to b")
    assert told(answer["warnings"], "main, ema: the smallest acoustic scale tried, 0.1, was the best on dev")
    chosen.speakers[1]["wer"] = "1.0"
    answer = answer_now()
    assert not told(answer["warnings"], "far apart")
    assert "by speaker: 90.00 % (a) to 100.00 % (b)" in last_lines(answer, "r")
    assert "By speaker: 90.00 % (a) to 100.00 % (b)." in page.first_page(answer, {})


def test_words_that_the_language_model_never_saw_are_counted(root):
    """From the text of an n-gram model; a loop knows all words."""
    heading = "utterance_id\tspeaker_id\ttranscript\tlexical\n"
    (root / "data/dev.tsv").write_text(heading + "d1\ts\tA B\tA B\n")
    (root / "data/test.tsv").write_text(heading + "u1\ts\tA X A\tA <unk> A\nu2\tt\tC C\tC C\n")
    (root / "data/lm_text.txt").write_text("A <unk>\nA\n")
    (root / "graph").mkdir()
    (root / "graph/lm.json").write_text('{"kind": "ngram"}')
    found = gather.gather(root, RESULTS, ["main"], [])
    assert found.unseen == {"dev": 1, "test": 2} == summary.summarise(found)["corpus"]["unseen_words"]
    found.corpus["splits"]["dev"] = found.corpus["splits"]["test"]
    line = "words that the language model's text never has: dev 1 of 20, test 2 of 20"
    assert line in summary.summary_text(found).splitlines()
    (root / "graph/lm.json").write_text('{"kind": "loop"}')
    assert gather.gather(root, RESULTS, ["main"], []).unseen == {}


def test_what_the_answer_advises(answered):
    """Runs that lose workers; which result counts."""
    found, answer_now = answered
    answer = answer_now()
    assert told(answer["warnings"], "results of workers were left out 1 times: lower the learning rate")
    assert answer["next"][-1].startswith("to try settings without repeating features and GMM, add to the config")
    assert best_system(answer["systems"])["name"] == "main, ema"
    assert best_system([]) is None and "–" in (page.percent(None), page.decimal(None))


def test_summary_names_systems_and_marks_the_chosen_one(root):
    found = gather.gather(root, RESULTS, ["main"], ["tri"])
    lines = summary.summary_text(found).splitlines()
    assert lines[0] == "Word error rate in percent"
    rows = [re.split(r" {2,}", line) for line in lines[2:7]]
    assert rows[0][:4] == ["system", "dev", "test", "95 % interval"]
    assert rows[2][:3] == ["tri GMM", "–", "75.00"] and rows[0][9:11] == ["characters", "95 % interval"]
    chosen = found.results[-1].numbers
    assert rows[4][9] == f"{100 * chosen['cer']:.2f}" and chosen["characters"] > chosen["words"]
    assert rows[4][:3] == ["main, ema *", "–", "25.00"]
    numbers = summary.summarise(found)
    assert [system["chosen"] for system in numbers["systems"]] == [False, False, True]
    assert numbers["runs"]["main"] == {
        "iterations": 2, "frames": 400, "rejected": 1, "objective_train": -2.0, "objective_dev": -2.5,
        "frame_accuracy": 0.25,
    }  # fmt: skip
    assert numbers["stages"]["train"] == {"jobs": 3, "seconds": 5.0, "cpu_seconds": 5.0, "max_rss_mb": 200.5}


def test_classes_of_speakers(root):
    """From a table of speakers, by value and cut in two; the classes of a grouping make up the whole test set."""
    first = "s" + HOSTILE.replace(" ", "_")
    (root / "speakers.tsv").write_text(f"speaker_id\tage\taccent\n{first}\t7\t{HOSTILE}\nt\t16\tplain\nz\t1\tx\n")
    classes = {"age": 16, "accent": "each"}
    out = make_report(root, "--speakers", "speakers.tsv", "--classes", json.dumps(classes))
    found = json.loads((out / "summary.json").read_text())["classes"]
    assert [row["class"] for row in found] == [
        name for name in ("age < 16", "age >= 16", f"accent {HOSTILE}", "accent plain") for _ in RESULTS
    ]  # fmt: skip
    of_gmm = {row["class"]: row for row in found if row["folder"] == "gmm/tri"}
    assert [of_gmm["age < 16"][key] for key in ("speakers", "words", "errors", "wer")] == [1, 2, 1, 0.5]
    assert [of_gmm["age >= 16"][key] for key in ("speakers", "words", "errors", "wer")] == [1, 2, 2, 1.0]
    lines = [re.split(r" {2,}", line) for line in (out / "summary.txt").read_text().splitlines()]
    assert ["age < 16", "tri GMM", "50.00", "50.00 to 50.00", "1", "2", "1"] in lines
    tags, text = read_page(out / "speakers.html")
    assert "script" not in tags and f"accent {HOSTILE}" in text and tags.count("table") == 2


def test_classes_of_the_corpus_and_mistakes_in_the_table(tmp_path):
    corpus = {"speaker_classes": {"a": "child"}}
    assert read_classes(corpus, [], {}) == [{"a": "child"}]
    (tmp_path / "s.tsv").write_text("speaker_id\tage\na\tx\n")
    with pytest.raises(UserError, match="s.tsv: line 2: age is 'x', no number: correct it, or set report.classes.age"):
        read_classes(corpus, [str(tmp_path / "s.tsv")], {"age": 16})
    with pytest.raises(UserError, match="column 'sex' is missing"):
        read_classes(corpus, [str(tmp_path / "s.tsv")], {"sex": "each"})
    (tmp_path / "s.tsv").write_text("speaker_id\tage\na\t9\na\t10\na\t30\n")
    with pytest.raises(
        UserError, match="s.tsv: line 4: speaker 'a' is 'age >= 16' here and 'age < 16' before: correct"
    ):
        read_classes(corpus, [str(tmp_path / "s.tsv")], {"age": 16})
    counts = {"gmm/tri": {"u": Counts(words=2, deletions=1), "v": Counts(words=3)}}
    rows = by_class([{"a": "child"}, {"nobody": "x"}], counts, {"u": "a", "v": "b"}, seed=1)
    assert [(row.speaker_class, row.total.words, row.total.errors) for row in rows] == [
        ("child", 2, 1), ("class unknown", 3, 0)
    ]  # fmt: skip


def test_the_training_set_at_other_speeds_stands_beside_it(root):
    size = {"utterances": 18, "speakers": 4, "words": 40, "seconds": 121.0}
    (root / "data" / "perturbed.json").write_text(json.dumps(size))
    assert "perturbed" not in (make_report(root) / "corpus.html").read_text(), "it is of another config"
    text = (make_report(root, "--perturbed", "data/perturbed.json") / "corpus.html").read_text()
    assert text.index("<td>train</td>") < text.index("<td>perturbed</td>") < text.index("<td>test</td>")


def test_frames_are_summed_over_iterations_for_workers_too(root):
    run = gather.gather(root, RESULTS, ["main"], []).runs[0]
    assert [row["frames_seen"] for row in run.combined] == [200, 400]
    assert [(row["iteration"], row["worker"], row["frames_seen"]) for row in run.workers] == [
        (0, 0, 200), (0, 1, 200), (1, 0, 400), (1, 1, 400)
    ]  # fmt: skip


@pytest.mark.parametrize(("change", "verdict"), [(0, "they agree"), (-7, "a difference of -7")])
def test_the_ledger_is_judged(root, change, verdict):
    path = root / "runs" / "main" / "ledger.json"
    ledger = json.loads(path.read_text())
    ledger["workers"]["1"]["seen"] += change
    path.write_text(json.dumps(ledger))
    run = gather.gather(root, RESULTS, ["main"], []).runs[0]
    assert f"200 × 2 = 400: {verdict}" in training_pages.ledger_page(run)


def test_the_objective_on_the_whole_of_dev_stands_in_where_no_subset_was_looked_at(root):
    found = gather.gather(root, RESULTS, ["main"], [])
    last = found.runs[0].combined[-1]
    last |= {"objective_dev": None, "objective_dev_full": -1.25}
    assert "dev objective -1.250" in summary.summary_text(found)


@pytest.mark.parametrize(
    ("chosen", "tried", "note"),
    [
        (0.2, [(0.1, 9), (0.2, 7), (0.2, 8)], "the largest acoustic scale tried, 0.2, was the best on dev: add more"),
        (0.1, [(0.1, 7), (0.2, 9)], "the smallest acoustic scale tried, 0.1, was"),
        (0.2, [(0.1, 7), (0.2, 7)], ""),  # as good as its neighbour
        (0.2, [(0.1, 9), (0.2, 7), (0.3, 8)], ""),
        (0.2, [(0.2, 7)], ""),
    ],
)
def test_a_setting_at_the_edge_of_its_grid_is_told(root, chosen, tried, note):
    settings = [{"acoustic_scale": scale, "errors": errors} for scale, errors in tried]
    tuned = {"system": "gmm", "acoustic_scale": chosen, "tried": settings}
    (root / "gmm" / "tri" / "tune.json").write_text(json.dumps(tuned))
    text = summary.summary_text(gather.gather(root, RESULTS, ["main"], []))
    assert (f"tri GMM: {note}" in text) if note else ("acoustic scale tried" not in text)
    assert not note or "decode.gmm_acoustic_scales" in text


def test_settings_that_contradict_the_custom_are_told(root):
    config = run_settings(parallel={"scale_rate_with_workers": False})
    (root / "runs" / "main" / "config.json").write_text(json.dumps(config))
    found = gather.gather(root, RESULTS, ["main"], [])
    line = "parallel.scale_rate_with_workers: false contradicts the custom for mean (auto: true)"
    assert f"run main: {line}" in summary.summary_text(found).splitlines()
    assert line in training_pages.iterations_page(found.runs[0])


def test_what_makes_each_split_smaller_or_harder_is_told(root):
    found = gather.gather(root, RESULTS, ["main"], [])
    lines = summary.summary_text(found).splitlines()
    assert "utterances left out: train 1 of 10, test 2 of 11 (reasons in the report)" in lines
    assert "words not in the lexicon: train 5 of 20, test 3 of 20" in lines
    corpus = summary.summarise(found)["corpus"]
    assert corpus["quarantined"] == {"train": 1, "dev": 0, "test": 2}
    assert corpus["unknown_words"] == {"train": 5, "dev": 0, "test": 3}
    text = re.sub(r"<[^>]*>", " ", report.corpus_page(found.corpus))
    assert re.search(r"test +9 +2 +2 +20 +3 +1.0", text) and "missing_words.txt" in text
    sound = dataclasses.replace(found, corpus={"splits": found.corpus["splits"], "quarantined": []})
    assert "left out" not in summary.summary_text(sound) and "lexicon" not in summary.summary_text(sound)
    assert re.search(r"test +9 +0 +2 +20 +– +1.0", re.sub(r"<[^>]*>", " ", report.corpus_page(sound.corpus)))


def test_splits_stand_in_the_order_of_work(root):
    text = report.corpus_page(gather.gather(root, RESULTS, ["main"], []).corpus)
    assert text.index("<td>train</td>") < text.index("<td>test</td>")


def test_what_is_not_there_is_left_out(root):
    (root / "runs" / "main" / "ledger.json").unlink()
    for path in [*root.glob("benchmarks/**/*.tsv"), *root.glob("hmm/**/*.json")]:
        path.unlink()
    out = make_report(root)
    assert "no ledger.json" in (out / "runs" / "main" / "ledger.html").read_text()
    assert (out / "time.svg").exists()
    assert (out / "alignment.svg").exists()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("runs/main/metrics.jsonl", '{"iteration": 0}\n', "metrics.jsonl:1: worker is missing"),
        ("runs/main/metrics.jsonl", "{}{}\n", "metrics.jsonl:1: not a JSON object"),
        ("data/corpus.json", "{", "corpus.json: not readable as JSON"),
        ("gmm/tri/wer.json", None, "wer.json: no such file"),
        ("gmm/tri/per_speaker.tsv", None, "per_speaker.tsv: cannot be read"),
    ],
)
def test_damaged_files_are_named(root, path, content, message):
    (root / path).unlink() if content is None else (root / path).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        gather.gather(root, RESULTS, ["main"], ["tri"])


def test_a_table_sets_numbers_right_and_escapes():
    text = pages.table(["a<b", "n"], [["x&y", 1234], [None, None]], marked=[1])
    assert "<th>a&lt;b</th><th class=number>n</th>" in text
    assert "<tr><td>x&amp;y</td><td class=number>1,234</td></tr>" in text
    assert "<tr class=marked><td>–</td><td class=number>–</td></tr>" in text


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture_of_one_iteration_and_of_none(tmp_path, kind):
    one = {**combined(0), "frames_seen": 200, "objective_dev_full": -2.6}
    plots.learning_curve(tmp_path / f"one.{kind}", HOSTILE, [one], [{**worker(0, 0, None), "frames_seen": 200}], "x")
    plots.frame_accuracy(tmp_path / f"none.{kind}", "no iteration", [], [])
    assert (tmp_path / f"one.{kind}").stat().st_size > 5000
    assert (tmp_path / f"none.{kind}").stat().st_size > 5000


def test_the_models_that_a_run_ends_with_stand_side_by_side(root):
    final = {
        "final_model": "ema",
        "candidates": {
            "combined": {"objective_dev": -2.25, "frame_accuracy": 0.5},
            "ema": {"objective_dev": -2.125, "frame_accuracy": 0.25},
            "last": {"objective_dev": None, "frame_accuracy": None},
        },
        "combined": {"objective": -1.5, "objective_of_mean": -1.75, "frames": 1234, "evaluations": 7},
    }
    (root / "runs" / "main" / "final.json").write_text(json.dumps(final))
    found = gather.gather(root, RESULTS, ["main"], []).runs[0]
    shown = training_pages.iterations_page(found)
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", shown, re.DOTALL)
    cells = {row[0]: row[1:] for row in (re.findall(r"<td[^>]*>([^<]*)", row) for _, row in rows) if row}
    assert cells["combined"] == ["-2.2500", "50.00"] and cells["last"] == ["–", "–"], cells
    assert [">ema<" in row for mark, row in rows if "marked" in mark] == [True]
    assert "-1.5000 on 1,234 training frames, where the mean of the models has -1.7500; 7 evaluations." in shown
    (root / "runs" / "main" / "final.json").unlink()
    assert "ends with" not in training_pages.iterations_page(gather.gather(root, RESULTS, ["main"], []).runs[0])
