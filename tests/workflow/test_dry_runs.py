"""Each config of the project resolves to jobs, and the graph of a long training is made in seconds."""

import re
import resource
import shutil
from pathlib import Path

import pytest
import yaml
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from unisono.config import check

ROOT = Path(__file__).resolve().parent.parent.parent
# Neither claims nor what is laid on top of another config.
CONFIGS = sorted(
    path for path in (ROOT / "config").rglob("*.yaml") if not path.stem.endswith((".claims", "-full-size"))
)
PAPERS = {
    "povey-2014": 11, "rosciszewski-kaliski-2017": 9, "su-chen-2015": 23, "tian-2017": 15, "you-xu-2014": 13
}  # cells  # fmt: skip


def jobs_of(output):
    """Return {rule: number of jobs} from the table that snakemake prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}


def pretend_corpus(workspace, path):
    """Put empty files where the config expects a recorded corpus: a dry run only looks whether they are there."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    corpus = config.get("corpus", {})
    names = [corpus[key] for key in ("table", "strings", "lm_text", "phones") if corpus.get(key)] + ["lexicon.txt"]
    files = [Path(corpus.get("dir", "")) / name for name in names]
    lm = config.get("lm", {})
    files += [Path(lm["arpa"])] if isinstance(lm, dict) and lm.get("arpa") else []
    for file in files:
        (workspace.folder / "elsewhere" / file).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / "elsewhere" / file).touch()
    if report := config.get("report"):
        heading = "\t".join(["speaker_id", *report["classes"]])
        (workspace.folder / "elsewhere" / corpus["dir"] / report["speakers"]).write_text(heading + "\n")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_resolves(workspace, path):
    pretend_corpus(workspace, path)
    process = workspace.run("--dry-run", "--config", "corpora_dir=elsewhere", config=path)
    assert process.returncode == 0, process.stdout[-3000:]
    jobs = jobs_of(process.stdout)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "study" in config:
        told = {line for line in process.stdout.splitlines() if line.startswith("config: ")}
        unscaled = "config: parallel.scale_rate_with_workers: false contradicts the custom for mean (auto: true)"
        assert told == ({unscaled} if path.stem == "bmuf-ema" else set()), "no other note or warning"
        return
    splits = 4 if config.get("speed_perturbation") else 3  # those of the network and of the GMMs
    assert jobs["features"] == 2 * splits * config["corpus"].get("shards", 4)
    assert jobs["finish"] == len(config.get("runs") or ["main"])
    assert f"results/{config['name']}/report/summary.txt" in process.stdout


@pytest.mark.parametrize(
    ("name", "cells", "decoded"),
    [
        ("natural-gradient", 8, 6),
        ("natural-gradient-rates", 11, 1),
        ("natural-gradient-four", 9, 1),
        ("natural-gradient-sixteen", 10, 1),
        ("averaging-frequency", 12, 3),
        ("bmuf-ema", 10, 6),
        ("gossip", 4, 0),
    ],
)
def test_study_makes_what_it_needs(workspace, name, cells, decoded):
    """Three runs of each cell; on test only the systems named, tuned once; no GMM, no report."""
    path = ROOT / "config" / "studies" / f"{name}.yaml"
    pretend_corpus(workspace, path)
    # As in a clone: the results that were found elsewhere are there, newer than the corpus; the runs are not.
    found = workspace.folder / "docs" / "results" / name
    shutil.copytree(ROOT / "docs" / "results" / name, found, copy_function=shutil.copy)
    process = workspace.run("study", "--dry-run", "--config", "corpora_dir=elsewhere", config=path)
    assert process.returncode == 0, process.stdout[-3000:]
    jobs = {rule: jobs_of(process.stdout).get(rule, 0) for rule in ("finish", "score", "decode_dnn", "tune_dnn")}
    assert jobs == {
        "finish": 3 * cells, "score": 3 * decoded, "decode_dnn": 8 * 3 * decoded, "tune_dnn": min(1, decoded)
    }  # fmt: skip
    assert not {"tune_gmm", "report", "choose", "recogniser"} & set(jobs_of(process.stdout))
    assert f"docs/results/{name}/results.json" in process.stdout


@pytest.mark.parametrize("full_size", [False, True], ids=["here", "full-size"])
@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_makes_its_table(workspace, name, full_size):
    """With the original's sizes and form of corpus, too, laid on top."""
    config = [ROOT / "config" / "papers" / f"{name}.yaml"]
    pretend_corpus(workspace, config[0])
    if full_size:
        config.append(ROOT / "config" / "papers" / f"{name}-full-size.yaml")
        if yaml.safe_load(config[1].read_text()).get("hmm", {}).get("align") == "kaldi":
            pytest.skip("a paper on a system of Kaldi: test_full_size.py")
        folder = workspace.folder / "elsewhere" / yaml.safe_load(config[1].read_text())["corpus"]["dir"]
        for part in (
            "lexicon.txt",
            *(f"{s}/{f}" for s in ("train", "dev", "test") for f in ("wav.scp", "text", "utt2spk")),
        ):
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (folder / part).touch()
    process = workspace.run("paper", "--dry-run", "--config", "corpora_dir=elsewhere", config=config)
    assert process.returncode == 0, process.stdout[-3000:]
    jobs = jobs_of(process.stdout)
    assert (jobs["finish"], jobs["paper_claims"], jobs["tune_dnn"]) == (3 * PAPERS[name], 1, 1)
    assert f"docs/results/papers/{name}/claims.json" in process.stdout
    told = {line.split(": ")[1] for line in process.stdout.splitlines() if line.startswith("config: ")}
    assert told == ({"corpus.table", "lm.arpa"} if full_size else set()), "what the other form of corpus has no use for"


@pytest.mark.parametrize("name", PAPERS)
def test_at_full_size_no_run_keeps_its_small_network(name):
    base, above = (load_configfile(ROOT / "config" / "papers" / f"{name}{part}.yaml") for part in ("", "-full-size"))
    small = check.read_config(base).runs
    update_config(base, above)
    large = check.read_config(base).runs
    assert large.keys() == small.keys()
    assert [run for run in small if large[run].network == small[run].network] == []


def test_every_paper_is_made():
    assert {path.stem for path in CONFIGS if path.parent.name == "papers"} == set(PAPERS)


def test_a_paper_needs_its_claims(workspace):
    text = "name: mine\nstudy: {name: s, cells: {a: {}}}\n"
    mine = workspace.config("mine.yaml", text)
    process = workspace.run("paper", "--dry-run", config=mine)
    line = "config: mine.claims.yaml: no such file: a paper's config has its claims beside it"
    assert process.returncode == 1 and line in process.stdout
    claim = "claim: A., stands: abstract, certainty: A"
    workspace.config("mine.claims.yaml", f"paper: p\nclaims: {{one: {{{claim}, shown: [b]}}}}\n")
    process = workspace.run("paper", "--dry-run", config=mine)
    assert process.returncode == 1
    assert "mine.claims.yaml: claims.one.shown: b: no such cell: known are a" in process.stdout
    workspace.config("mine.claims.yaml", f"paper: p\nclaims: {{one: {{{claim}, shown: [a]}}}}\n")
    process = workspace.run("paper", "--dry-run", config=mine)
    assert process.returncode == 0 and jobs_of(process.stdout)["paper_claims"] == 1
    assert "docs/results/papers/s/claims.json" in process.stdout


def test_studies_share_what_lies_before_training():
    paths = [path for path in CONFIGS if path.parent.name in ("studies", "papers")]
    before = ("name", "corpus", "features", "hmm", "lm")
    configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    assert paths
    assert all({key: config[key] for key in before} == {key: configs[0][key] for key in before} for config in configs)


def test_the_demo_is_the_default_and_leaks_into_no_other(workspace):
    own = workspace.config("own.yaml", "name: own\n")
    assert "results/demo/report/summary.txt" in workspace.run("--dry-run", config=None).stdout
    output = workspace.run("--dry-run", config=own).stdout
    assert "results/own/report/summary.txt" in output and "demo" not in output


@pytest.mark.parametrize(
    ("lines", "jobs"),
    [
        ("parallel: {workers: 4}", {"train_job": 12, "combine": 3, "diagnose": 3}),
        ("diagnostics: {frames: 0}", {"train_job": 6, "combine": 3, "diagnose": None}),
        ("parallel: {workers: {initial: 1, final: 3}}", {"train_job": 5, "combine": 3}),
        ("parallel: {engine: virtual, iterations_per_job: 2}", {"train_virtual": 2, "diagnose": None}),
        ("parallel: {engine: sync, iterations_per_job: 1}", {"train_sync": 3}),
        ("parallel: {engine: async, combine: async, iterations_per_job: 2}", {"train_async": 2, "diagnose": None}),
        ("runs: {one: {}, two: {parallel: virtual_three}}".replace("virtual_three", "{engine: virtual}"),
         {"train_job": 6, "train_virtual": 1, "finish": 2, "train_mono": 1}),
        ("observers: {ema: {decay: 0.5}, polyak: {}}", {"tune_dnn": 3, "choose": 1}),
        ("combined: {}\nfinal_model: combined", {"tune_dnn": 2, "choose": 1}),
        ("hmm: {align: mono}\ndecode: {systems: []}", {"train_mono": 1, "align": 2}),
        ("hmm: {align: lda_mllt}\ndecode: {systems: []}", {"train_lda_mllt": 1, "align": 4, "graph": 1}),
        # Perturbed: 4 shards of the network's and of the GMMs' features, aligned once more than train and dev.
        ("speed_perturbation: [0.9, 1.1]", {"perturb": 1, "features": 32, "align": 4, "cmvn": 8, "train_mono": 1}),
        ("decode: {systems: [lda_mllt]}", {"train_lda_mllt": 1, "align": 3, "graph": 2, "tune_gmm": 1}),
    ],
)  # fmt: skip
def test_settings_decide_the_jobs(workspace, lines, jobs):
    """With `schedule.iterations` the number of iterations is known, so a dry run shows all jobs."""
    mine = workspace.config("mine.yaml", f"name: small\nschedule: {{iterations: 3, epochs: null}}\n{lines}\n")
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 0, process.stdout[-3000:]
    found = jobs_of(process.stdout)
    assert {rule: found.get(rule) for rule in jobs} == jobs
    if "mono}" in lines:
        assert "train_tri" not in found
    assert ("train_lda_mllt" in found) == ("lda_mllt" in lines)
    assert ("perturb" in found) == ("speed_perturbation" in lines)


def test_models_that_nobody_has_looked_at_do_not_pile_up(workspace):
    """A worker of iteration 5 waits for the look at iteration 0; what is waited for goes first."""
    lines = "name: small\nschedule: {iterations: 8, epochs: null}\n"
    mine = workspace.config("mine.yaml", lines)
    wanted = {4: None, 5: 1, 7: 3}
    for iteration, looks in wanted.items():
        process = workspace.run("--dry-run", f"results/small/runs/main/iterations/{iteration}.0.json", config=mine)
        assert process.returncode == 0, process.stdout[-3000:]
        assert jobs_of(process.stdout).get("diagnose") == looks
    for more, jobs in (("", 8), ("diagnostics: {frames: 0}\n", None)):
        mine = workspace.config("mine.yaml", lines + more)
        process = workspace.run("--dry-run", "results/small/runs/main/metrics.jsonl", config=mine)
        assert jobs_of(process.stdout).get("diagnose") == jobs


@pytest.mark.parametrize(
    ("resources", "training", "use"),
    [
        ("{device: cpu}", "cpu", "cpu"),
        ("{device: cuda}", "cuda", "auto"),  # on a cluster what follows training may have no GPU
        ("{device: cuda, decode_gpu: gpu=1}", "cuda", "cuda"),
    ],
)
def test_each_rule_that_computes_a_network_is_told_where(workspace, resources, training, use):
    other = workspace.folder / "results/other/runs/main/recogniser.json"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.touch()
    lines = (
        "name: mine\nhmm: {align_with: {name: other}}\ndecode: {systems: []}\nschedule: {iterations: 2, epochs: null}\n"
    )
    mine = workspace.config("mine.yaml", lines + f"resources: {resources}\n")
    process = workspace.run("--dry-run", "--printshellcmds", config=mine)
    assert process.returncode == 0, process.stdout[-3000:]
    commands = re.findall(r"python -m unisono ([a-z-]+) .*?--device (\w+)", process.stdout)
    wanted = dict.fromkeys(("train-job", "combine", "diagnose", "finish"), training)
    assert dict(commands) == wanted | dict.fromkeys(("align-dnn", "tune", "decode"), use)
    assert len(set(commands)) == 7


def test_alignment_by_another_config(workspace):
    mine = workspace.config("mine.yaml", "name: mine\nhmm: {align_with: {name: other}}\ndecode: {systems: []}\n")
    process = workspace.run("--dry-run", config=mine)
    line = "config: hmm.align_with: results/other/runs/main/recogniser.json: no such file: let that config finish first"
    assert process.returncode == 1 and line in process.stdout
    there = workspace.folder / "results/other/runs/main/recogniser.json"
    there.parent.mkdir(parents=True)
    there.touch()
    process = workspace.run("--dry-run", config=mine)
    assert process.returncode == 0, process.stdout[-3000:]
    found = jobs_of(process.stdout)
    assert {rule: found.get(rule) for rule in ("adopt_hmm", "align_dnn", "graph", "align", "train_mono")} == {
        "adopt_hmm": 1, "align_dnn": 2, "graph": 1, "align": None, "train_mono": None,
    }  # fmt: skip


def test_a_long_chain_resolves_in_seconds(workspace):
    """300 iterations of 8 jobs: deeper than Python's recursion limit allows; the bound, of CPU time, is generous."""
    mine = workspace.config(
        "long.yaml", "name: long\nschedule: {iterations: 300, epochs: null}\nparallel: {workers: 8}\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = workspace.run("--dry-run", config=mine)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, process.stdout[-3000:]
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    assert jobs_of(process.stdout)["train_job"] == 2400


def test_lint(workspace):
    process = workspace.run("--lint", config=None)
    assert process.returncode == 0, process.stdout
