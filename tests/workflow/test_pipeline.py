"""The whole pipeline on config/spoken_small.yaml, from recordings to the report."""

import json
import re
import time

import numpy as np
import pytest

from unisono.hmm.lexicon import load_lang
from unisono.hmm.model import load_model
from unisono.hmm.tree import from_kaldi

FINAL = "runs/main/final.safetensors"
# From the alignments on everything must repeat byte for byte.
PRODUCTS = (
    "data/lexicon.txt", "hmm/mono/model.h5", "hmm/tri/model.h5", "hmm/mono/ali.train.h5", "hmm/tri/ali.train.h5",
    "hmm/tri/ali.dev.h5", "graph/lm.arpa", "graph/tri/HCLG.fst", "frames/train.h5", "frames/dev.h5",
    "runs/main/plan.json", FINAL, "runs/main/hyp.txt", "runs/main/wer.json", "gmm/tri/hyp.txt", "gmm/tri/wer.json",
)  # fmt: skip


def test_it_ends_with_a_recogniser_and_a_report(finished):
    wer = json.loads((finished.results / "runs/main/wer.json").read_text())
    assert wer["words"] > 100
    assert wer["wer"] < 0.4, "a small network on unseen voices must still recognise most words"
    assert re.search(r"main, last", (finished.results / "report/summary.txt").read_text())
    ledger = json.loads((finished.results / "runs/main/ledger.json").read_text())
    frames = json.loads((finished.results / "frames/frames.json").read_text())["train"]["frames"]
    assert ledger["corpus_frames"] == frames
    counts = ledger["workers"].values()
    assert sum(c["seen"] + c["discarded"] for c in counts) == frames * ledger["epochs"]
    assert all(c["dropped"] == 0 == c["repeated"] for c in counts)


def test_temporary_models_are_gone_and_logs_are_there(finished):
    left = sorted(path.name for path in (finished.results / "runs/main/iterations").glob("*.safetensors"))
    assert left == ["init.combine.safetensors"]
    iterations = len(json.loads((finished.results / "runs/main/plan.json").read_text())["phases"][-1]["iterations"])
    assert len(list((finished.results / "logs/train/main").glob("*.[01].log"))) == 2 * iterations
    stages = {path.name for path in (finished.results / "benchmarks").iterdir()}
    assert stages == {"corpus", "features", "hmm", "graph", "frames", "plan", "train", "decode", "score"}


def test_jobs_are_told_in_plain_words(finished):
    for line in ("Corpus: check recordings", "HMM: train monophones", "Run main: iteration 1, worker 0", "100%"):
        assert line in finished.output
    assert "python -m unisono" not in finished.output


def test_second_call_has_nothing_to_do(finished):
    begin = time.monotonic()
    process = finished.run()
    assert process.returncode == 0 and "Nothing to be done" in process.stdout, process.stdout[-2000:]
    assert time.monotonic() - begin < 20  # 3 s alone on the machine


def test_one_core_gives_the_same_bytes(finished, workspace):
    process = workspace.run(cores=1)
    assert process.returncode == 0, process.stdout[-6000:]
    for name in PRODUCTS:
        assert workspace.bytes(name) == finished.bytes(name), name


def test_engines_give_the_same_bytes_and_one_key_switches(finished, copied):
    """`virtual` and `sync` end where `jobs` ended; a changed rule or optimiser ends elsewhere, with a WER."""
    mine = copied.config(
        "mine.yaml",
        """
runs:
  main: {}
  virtual: {parallel: {engine: virtual, iterations_per_job: 3}}
  sync: {parallel: {engine: sync}}
  bmuf: {parallel: {engine: virtual, combine: bmuf}, observers: {ema: {decay: 0.5}}, final_model: ema}
  async: {parallel: {engine: async, combine: async, iterations_per_job: 2}}
""",
    )
    process = copied.run(config=[*copied.command()[-1:], mine])
    assert process.returncode == 0, process.stdout[-6000:]
    assert "Run main: iteration" not in process.stdout, "the finished run is left as it is"
    final = finished.bytes(FINAL)[FINAL]
    for run in ("main", "virtual", "sync"):
        assert (copied.results / f"runs/{run}/final.safetensors").read_bytes() == final, run
    assert (copied.results / "runs/bmuf/final.safetensors").read_bytes() != final
    assert json.loads((copied.results / "runs/bmuf/wer.json").read_text())["words"] > 100
    assert (copied.results / "runs/bmuf/decode/ema/wer.json").exists()
    log = copied.results / "runs/async/iterations/arrivals.jsonl"
    again = copied.config(
        "again.yaml",
        f"runs: {{again: {{parallel: {{engine: virtual, combine: async, arrival: {{kind: log, path: {log}}}}}}}}}",
    )
    models = [copied.results / f"runs/{run}/final.safetensors" for run in ("async", "again")]
    process = copied.run(str(models[1].relative_to(copied.folder)), config=[*copied.command()[-1:], again])
    assert process.returncode == 0, process.stdout[-6000:]
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.parametrize(
    ("change", "runs_again", "stays"),
    [
        (
            "decode: {beam: 9}",
            {"decode_dnn", "decode_gmm"},
            {"train_job", "frames", "train_tri", "tune_dnn", "tune_gmm"},
        ),
        ("decode: {tune_utterances: 15}", {"tune_dnn", "tune_gmm", "decode_dnn"}, {"train_job", "graph"}),
        ("decode: {gmm_acoustic_scales: [0.1]}", {"tune_gmm", "decode_gmm"}, {"tune_dnn", "decode_dnn"}),
        ("decode: {acoustic_scales: [0.1]}", {"tune_dnn", "decode_dnn"}, {"tune_gmm", "decode_gmm"}),
        ("decode: {systems: [mono, tri]}", {"tune_gmm", "decode_gmm", "graph"}, {"tune_dnn", "decode_dnn"}),
        ("seed: 5", {"configure", "plan"}, {"train_tri", "frames", "tune_gmm"}),
        ("hmm: {word_position: true}", {"lang", "train_mono", "train_tri", "graph"}, {"features", "corpus"}),
        ("hmm: {tri: {leaves: 90}}", {"train_tri", "frames"}, {"train_mono", "features", "corpus"}),
        ("features: {deltas: 1}", {"frames"}, {"features", "cmvn", "train_mono", "train_tri", "corpus"}),
        ("resources: {hang_timeout_s: 10}", set(), {"configure", "finish", "tune_gmm"}),
    ],
)
def test_a_changed_setting_runs_what_depends_on_it(finished, change, runs_again, stays):
    mine = finished.folder / "change.yaml"
    mine.write_text(change + "\n")
    process = finished.run("--dry-run", config=[*finished.command()[-1:], mine])
    mine.unlink()
    assert process.returncode == 0, process.stdout[-3000:]
    again = set(re.findall(r"^(\w+) +\d+$", process.stdout, flags=re.MULTILINE))
    assert runs_again <= again and not stays & again, again


def test_speed_perturbation_adds_frames_and_leaves_the_gmms_alone(finished, copied):
    mine = copied.config("mine.yaml", "speed_perturbation: [0.9, 1.1]\n")
    wanted = copied.results.relative_to(copied.folder) / "frames/frames.json"
    process = copied.run(wanted, config=[*copied.command()[-1:], mine])
    assert process.returncode == 0, process.stdout[-6000:]
    assert set(re.findall(r"^(\w+) +\d+$", process.stdout, flags=re.MULTILINE)) == {
        "perturb", "features", "cmvn", "align", "frames", "total"
    }  # fmt: skip
    frames = [json.loads((w.results / "frames/frames.json").read_text())["train"] for w in (finished, copied)]
    assert frames[1]["utterances"] == 3 * frames[0]["utterances"]
    assert frames[1]["frames"] / frames[0]["frames"] == pytest.approx(1 / 0.9 + 1 + 1 / 1.1, abs=0.02)


def test_phones_that_know_their_position(finished, copied):
    """Words come out, of monophones with the same PDFs, then of a tree with shared roots that asks for positions."""
    settings = json.loads((finished.results / "runs/main/recogniser.json").read_text())["settings"]
    assert settings["hmm"]["word_position"] is False
    mine = copied.config("mine.yaml", "hmm: {word_position: true}\n")
    wanted = copied.results.relative_to(copied.folder) / "gmm/tri/wer.json"
    process = copied.run(wanted, config=[*copied.command()[-1:], mine])
    assert process.returncode == 0, process.stdout[-6000:]
    wer = json.loads((copied.results / "gmm/tri/wer.json").read_text())
    assert wer["words"] > 100 and wer["wer"] < 0.3
    lang, tri = load_lang(copied.results / "hmm/lang"), load_model(copied.results / "hmm/tri/model.h5")
    roots = from_kaldi(tri.tree_bytes)[0].children
    assert all(roots[phone] == roots[group[0]] for group in lang.variants for phone in group)
    assert any(np.array(group, "<i4").tobytes() in tri.tree_bytes for group in lang.positions)
    mono = [json.loads((w.results / "hmm/mono/train.json").read_text()) for w in (finished, copied)]
    assert mono[0]["pdfs"] == mono[1]["pdfs"] and mono[0]["iterations"] != mono[1]["iterations"]


def test_report_page(finished):
    page = finished.folder / "page.html"
    process = finished.run("--report", page)
    assert process.returncode == 0, process.stdout[-3000:]
    text = page.read_text(encoding="utf-8")
    for word in ("Word error rate", "Training", "Corpus and alignment", "Time"):
        assert word in text
