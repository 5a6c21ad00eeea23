"""A run on a system of Kaldi: it resolves to jobs; on the golden digits it trains, decodes and goes back to Kaldi."""

import json
import re

import numpy as np
import pytest
import yaml

from tests.kaldi.golden import IO, first_system
from unisono.__main__ import main
from unisono.data.corpus.table import read_table
from unisono.data.kaldi.archive import Script
from unisono.data.kaldi.fst import read_fst
from unisono.files import read_json
from unisono.nn.model_file import load_model

CONFIG = {
    "name": "digits",
    "corpora_dir": "corpora",
    "corpus": {"kind": "kaldi", "dir": "digits", "shared_speakers": True, "shards": 2},
    "features": {"kind": "kaldi", "numbers": 13},
    "hmm": {"align": "kaldi", "features": {"kind": "kaldi", "numbers": 13}},
    "decode": {"systems": [], "acoustic_scales": [0.1], "word_insertion_penalties": [0.0]},
    "network": {"kind": "dnn", "hidden": [64, 64], "nonlinearity": "relu", "context": [5, 5]},
    "optimiser": {"kind": "sgd", "learning_rate": 0.002, "minibatch": 64},
    "schedule": {"kind": "exponential", "final_learning_rate": 0.0005, "epochs": 6},
    "parallel": {"engine": "jobs", "workers": 2, "combine": {"kind": "mean"}, "period_frames": 4500},
}


def write_config(workspace, name="digits", **kaldi):
    config = {**CONFIG, "name": name, "hmm": {**CONFIG["hmm"], "kaldi": kaldi}}
    return workspace.config(f"{name}.yaml", yaml.safe_dump(config))


@pytest.mark.parametrize("dev", ["given", "gmm", "train"])
def test_a_kaldi_directory_resolves(workspace, dev):
    """Whatever stands in the files: a dry run only looks whether they are there, and for what size of Gaussians."""
    names = [f"corpora/digits/{split}/{name}" for split in ("train", "dev", "test") for name in ("feats.scp", "text")]
    names += [f"corpora/digits/{split}/utt2spk" for split in ("train", "dev", "test")]
    names += ["corpora/digits/lexicon.txt", "exp/final.mdl", "exp/tree", "exp/ali.1.gz", "exp/dev.1.gz"]
    for name in [*names, *(f"lang/{part}" for part in ("words.txt", "phones.txt", "L.fst", "L_disambig.fst"))]:
        (workspace.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / name).touch()
    if dev == "gmm":
        (workspace.folder / "exp/final.mdl").write_text("</TransitionModel> <DIMENSION> 39 <NUMPDFS> 2 ")
    given = {"dir": "exp", "lang": "lang", "alignments": ["exp/ali.*.gz"]}
    path = write_config(workspace, **given, **({"dev_alignments": ["exp/dev.*.gz"]} if dev == "given" else {}))
    done = workspace.run("--dry-run", config=path)
    assert done.returncode == 0, done.stdout[-3000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    assert jobs["adopt_kaldi"] == "1" and jobs["adopt_kaldi_alignments"] == ("1" if dev == "gmm" else "2")
    assert ("align_by_kaldi" in jobs) == (dev == "gmm") and ("hold_out" in jobs) == (dev == "train")
    assert not {"lang", "train_mono", "train_tri", "align", "graph", "lm"} & set(jobs)
    (workspace.folder / "exp/tree").unlink()
    done = workspace.run("--dry-run", config=path)
    assert done.returncode != 0 and "config: hmm.kaldi: exp/tree: no such file" in done.stdout


def make_data(folder, corpora_dir):
    """Write data directories of the golden strings, with our own MFCC as feats.scp."""
    options = {"kind": "strings", "dir": "fsdd", "strings": "tiny.tsv", "shards": 1, "shared_speakers": True}
    flags = ["--corpora-dir", str(corpora_dir), "--out-dir", str(folder / "data")]
    assert main(["corpus", "--options", json.dumps(options), *flags]) == 0
    aligned = {line.split()[0] for line in (IO / "lang/text_train").read_text().splitlines()}
    golden = Script(IO / "feats/raw.scp", "matrix")
    for split in ("train", "dev", "test"):
        out, table = folder / "corpora/digits" / split, folder / f"data/{split}.tsv"
        flags = ["--options", '{"kind": "mfcc", "num_mel_bins": 23}', "--format", "ark"]
        flags += ["--out", str(out / "raw.ark"), "--scp", str(out / "all.scp")]
        assert main(["features", "--table", str(table), *flags]) == 0
        rows = [u for u in read_table(table) if split != "train" or u.utterance_id in aligned]
        places = dict(line.split(maxsplit=1) for line in (out / "all.scp").read_text().splitlines())
        (out / "feats.scp").write_text("".join(f"{u.utterance_id} {places[u.utterance_id]}\n" for u in rows))
        (out / "text").write_text("".join(f"{u.utterance_id} {u.transcript}\n" for u in rows))
        (out / "utt2spk").write_text("".join(f"{u.utterance_id} {u.speaker_id}\n" for u in rows))
        for name, value in Script(out / "feats.scp", "matrix").items():
            if name in golden:
                assert np.abs(value - golden[name]).max() < 1e-3
    (folder / "corpora/digits/lexicon.txt").write_text((corpora_dir / "fsdd/lexicon.txt").read_text())


@pytest.mark.slow
@first_system
def test_golden_digits_from_kaldi_and_back(workspace, corpora_dir):
    make_data(workspace.folder, corpora_dir)
    given = {"dir": str(IO / "tri"), "lang": str(IO / "lang"), "alignments": [str(IO / "tri" / "ali.*.gz")]}
    path = write_config(workspace, **given)
    done = workspace.run(config=path, timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:]
    results = workspace.folder / "results/digits"
    assert read_json(results / "hmm/kaldi/ali.train.json")["aligned"] == 30
    assert read_json(results / "runs/main/wer.json")["wer"] < 0.9
    feats = [
        "--feats",
        str(workspace.folder / "corpora/digits/test/feats.scp"),
        "--out",
        str(workspace.folder / "words"),
    ]
    utt2spk = str(workspace.folder / "corpora/digits/test/utt2spk")
    assert main(["transcribe", "--system", str(results / "runs/main"), *feats, "--utt2spk", utt2spk]) == 0
    found = (results / "runs/main/hyp.txt").read_text().splitlines()
    assert sorted((workspace.folder / "words").read_text().splitlines()) == sorted(found)
    exported = workspace.folder / "exported"
    assert main(["export", str(results / "runs/main"), str(exported), "--format", "kaldi"]) == 0
    theirs, mine = read_fst(IO / "tri/HCLG.fst"), read_fst(exported / "HCLG.fst")
    assert all(np.array_equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert b"\0B" + (exported / "tree").read_bytes()[2:] == (IO / "tri/tree").read_bytes()
    out = workspace.folder / "again.safetensors"
    assert main(["import-model", str(exported / "final.mdl"), "--out", str(out)]) == 0
    assert load_model(out).flat.equal(load_model(results / "runs/main/final.safetensors").flat)
    # The same without dev: a tenth of the 30 utterances of train is set apart.
    path = write_config(workspace, name="apart", dev="train", **given)
    done = workspace.run("results/apart/frames/frames.json", config=path)
    assert done.returncode == 0, done.stdout[-3000:]
    counts = read_json(workspace.folder / "results/apart/frames/frames.json")
    assert counts["train"]["utterances"] == 27 and counts["dev"]["utterances"] == 3
    assert counts["train"]["left_out"] == counts["dev"]["left_out"] == []
