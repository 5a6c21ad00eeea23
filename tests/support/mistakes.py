"""Mistakes in a config and in a folder corpus, each with the words of the line that it should end as."""

import shutil

import numpy as np
import soundfile

CONFIGS = [
    ("optimizer: {}", "optimizer: unknown key: did you mean optimiser?"),
    ("optimiser: {momentum: 2}", "optimiser.momentum: 2 is out of range: at least 0 and below 1"),
    ("runs: {a: {parallel: {combine: ring, workers: {initial: 1, final: 4}}, sed: 1}}", "runs.a.sed: unknown key"),
    ("runs: {a: {parallel: {combine: butterfly, workers: 3}}}", "runs.a.parallel.combine: butterfly needs"),
    ("schedule: {epochs: null}", "schedule"),
    ("corpus: {dir: mine}", "corpus.kind: missing, and spoken, the default, does not use corpus.dir"),
    ("hmm: {align_with: {name: wrong}}", "hmm.align_with.name: wrong: this config itself"),
    ("hmm: {align_with: {run: main}}", "hmm.align_with.name: missing: give one: Name of that config"),
    ("final_model: ema", "final_model: ema needs observers.ema"),
    ("hmm: {beam: 50}", "hmm.retry_beam: 40 is not above hmm.beam, 50"),
    ("lm: {kind: arpa, arpa: no.arpa}", "lm.arpa: corpora/no.arpa: no such file"),
    ("runs: {a: {initialisation: {kind: model, path: no.model}}}", "initialisation.path: no.model: no such file"),
    ("runs: {a: {}}\nstudy: {name: x}", "runs and study: a config has one of them"),
    ("study: {name: x, axes: {a: {b: {parallel: {combine: butterfly, workers: 3}}}}, seeds: [4]}",
     "study.x.b-s4.parallel.combine: butterfly needs"),
    ("study: {name: x, axes: {a: {b: {sed: 1}}}}", "study.axes.a.b.sed: unknown key: did you mean seed?"),
    ("study: {name: x, axes: {a: {b/c: {}}}}", 'study.axes.a.b/c: "b/c": only letters, digits'),
    ("study: {name: x, cells: {a: {}}, seeds: [-1]}", "study.seeds.0: -1 is out of range"),
    ("study: {name: x, cells: {a: {}}, tune_on: a, decode: {cells: [a], candidates: [ema]}}",
     "study.decode.candidates: ema: cell a makes only last"),
]  # fmt: skip
# Whole configs, without a `name: wrong` before them.
WHOLE = [
    ("seed: 1", "name: missing: give one: Name of the experiment"),
    ("name: x\nseed: 1\nlm: loop\nseed: 2", "line 4: seed stands already in line 2: remove one"),
    ("name: x\nruns:\n  a:\n    seed: 1\n    seed: 1", "line 5: seed stands already in line 4: remove one"),
    ("name: x\ncorpus: {kind: table, dir: mine}", "corpora/mine/utterances.tsv: no such file"),
    ("name: x\nreport: {speakers: s.tsv, classes: {age: 16}}", "report.speakers: corpora/s.tsv: no such file"),
    ("name: x: y", "x.yaml"),
]


# What goes wrong in a folder corpus after `unisono corpus folder` has made table and config: (name, do it, words).
def _gone(folder):
    (folder / "recordings/anna/anna0.wav").unlink()


def _other_rate(folder):
    soundfile.write(folder / "recordings/anna/anna0.wav", np.zeros(8000, np.int16), 16000)


def _stereo(folder):
    soundfile.write(folder / "recordings/anna/anna0.wav", np.zeros((8000, 2), np.int16), 8000)


def _lexicon_gone(folder):
    (folder / "lexicon.txt").unlink()


def _word_gone(folder):
    path = folder / "lexicon.txt"
    path.write_text(path.read_text().replace("TWO  T UW\n", ""))


def _phones_gone(folder):
    path = folder / "lexicon.txt"
    path.write_text(path.read_text().replace("TWO  T UW\n", "TWO\n"))


def _column_gone(folder):
    path = folder / "mine/utterances.tsv"
    path.write_text(path.read_text().replace("transcript", "words"))


def _twice(folder):
    path = folder / "mine/utterances.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))


def _no_test(folder):
    path = folder / "mine/utterances.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.rstrip().endswith("\ttest") and "\ttest\t" not in line))


def _not_utf8(folder):
    path = folder / "mine/utterances.tsv"
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")


def _folder_moved(folder):
    shutil.move(folder / "recordings", folder / "elsewhere")


FOLDERS = {
    "a recording is gone": (_gone, "anna0.wav"),
    "another sampling rate": (_other_rate, "16000"),
    "two channels": (_stereo, "channels"),
    "no lexicon": (_lexicon_gone, "lexicon.txt: no such file"),
    "a word is gone from the lexicon": (_word_gone, "TWO"),
    "a word without phones": (_phones_gone, "lexicon.txt"),
    "a column is gone": (_column_gone, "column 'transcript' is missing"),
    "an utterance twice": (_twice, "utterances.tsv"),
    "no test split": (_no_test, "test"),
    "not UTF-8": (_not_utf8, "UTF-8"),
    "the recordings were moved": (_folder_moved, "anna0.wav"),
}
