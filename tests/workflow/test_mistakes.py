"""A user's mistake is one line on the terminal and a return code that is not 0."""

import pytest


def lines_with(text, output):
    return [line for line in output.splitlines() if text in line]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("optimizer: {}", "optimizer: unknown key: did you mean optimiser?"),
        ("optimiser: {momentum: 2}", "optimiser.momentum: 2 is out of range: at least 0 and below 1"),
        ("runs: {a: {parallel: {combine: ring, workers: {initial: 1, final: 4}}, sed: 1}}", "runs.a.sed: unknown key"),
        ("runs: {a: {parallel: {combine: butterfly, workers: 3}}}", "runs.a.parallel.combine: butterfly needs"),
        ("schedule: {epochs: null}", "schedule"),
        ("hmm: {align_with: {name: wrong}}", "hmm.align_with.name: wrong: this config itself"),
        ("hmm: {align_with: {run: main}}", "hmm.align_with: 'name' is a required property"),
        ("final_model: ema", "final_model: ema needs observers.ema"),
        ("hmm: {beam: 50}", "hmm.retry_beam: 40 is not above hmm.beam, 50"),
        ("lm: {kind: arpa, arpa: no.arpa}", "lm.arpa: corpora/no.arpa: no such file"),
        ("runs: {a: {initialisation: {kind: model, path: no.model}}}", "initialisation.path: no.model: no such file"),
        ("runs: {a: {}}\nstudy: {name: x}", "runs and study: a config has one of them"),
        ("study: {name: x, axes: {a: {b: {parallel: {combine: butterfly, workers: 3}}}}, seeds: [4]}",
         "study.x.b-s4.parallel.combine: butterfly needs"),
        ("study: {name: x, axes: {a: {b: {sed: 1}}}}", "study.axes.a.b.sed: unknown key: did you mean seed?"),
        ("study: {name: x, axes: {a: {b/c: {}}}}", 'runs: "x.b/c-s1": only letters, digits'),
        ("study: {name: x, cells: {a: {}}, seeds: [-1]}", "study.seeds.0: -1 is out of range"),
        ("study: {name: x, cells: {a: {}}, tune_on: a, decode: {cells: [a], candidates: [ema]}}",
         "study.decode.candidates: ema: cell a makes only last"),
    ],
)  # fmt: skip
def test_wrong_config(workspace, config, line):
    process = workspace.run("--dry-run", config=workspace.config("wrong.yaml", f"name: wrong\n{config}\n"))
    assert process.returncode == 1
    assert len(lines_with(f"config: {line}", process.stdout)) == 1, process.stdout
    assert "Traceback" not in process.stdout


def test_study_without_one(workspace):
    process = workspace.run("study", "--dry-run", config=workspace.config("mine.yaml", "name: mine\n"))
    assert process.returncode == 1 and len(lines_with("config: study: missing: this config has", process.stdout)) == 1


def test_missing_name(workspace):
    process = workspace.run("--dry-run", config=workspace.config("wrong.yaml", "seed: 1\n"))
    assert process.returncode == 1 and "config: config: 'name' is a required property" in process.stdout


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


def test_missing_corpus_is_named(workspace):
    mine = workspace.config("mine.yaml", "name: mine\ncorpus: {kind: table, dir: mine}\n")
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 1 and "corpora/mine/utterances.tsv" in process.stdout
    assert "corpora_dir" in process.stdout
