"""The commands lang, train-mono, align and train-tri on a few made-up utterances, and what they say of bad input."""

import json

import numpy as np
import pytest

from unisono.__main__ import main
from unisono.data.corpus.table import Utterance, with_shards, write_table
from unisono.data.sequences import Sequences, write_sequences
from unisono.hmm.model import load_model

LEXICON = "BA  b a\nDA  d a\nBAD  b a d\n"
FEATURES = {
    "kind": "mfcc",
    "num_mel_bins": 23,
    "num_ceps": 4,
    "low_freq": 20.0,
    "high_freq": 0.0,
    "frame_length_ms": 25.0,
    "frame_shift_ms": 10.0,
    "use_energy": False,
    "dither": 0.0,
    "deltas": 1,
    "cmvn": "none",
    "cmvn_variance": False,
}
HMM = {
    "features": FEATURES,
    "silence_phone": "SIL",
    "silence_states": 3,
    "phone_states": 3,
    "silence_probability": 0.5,
    "mono": {"iterations": 4, "gaussians": 15},
    "tri": {"iterations": 4, "leaves": 30, "gaussians": 30},
    "align": "tri",
    "beam": 10.0,
    "retry_beam": 40.0,
    "acoustic_scale": 0.1,
    "seed": 1,
}


@pytest.fixture
def data(tmp_path):
    """Write table, features of two shards and lexicon; the last utterance is too short, one has no frames."""
    rng = np.random.default_rng(0)
    means = {phone: rng.normal(size=(3, 4)) * 4 for phone in ("sil", "a", "b", "d")}
    spelling = {line.split()[0]: line.split()[1:] for line in LEXICON.splitlines()}
    rows, features = [], {}
    for n in range(24):
        words = [list(spelling)[i] for i in rng.integers(0, 3, 3)]
        phones = ["sil", *[p for w in words for p in spelling[w]], "sil"]
        x = [rng.normal(means[p][s], 1.0, (rng.integers(3, 6), 4)) for p in phones for s in range(3)]
        utt = f"utt{n:02d}"
        features[utt] = np.concatenate(x).astype(np.float32)
        rows.append(Utterance(utt, "speaker", f"{utt}.wav", 1.0, " ".join(words), " ".join(words), 0))
    features["utt22"], features["utt23"] = features["utt22"][:0], features["utt23"][:5]
    rows = with_shards(rows, 2)
    write_table(tmp_path / "train.tsv", rows)
    for shard in (0, 1):
        own = [(u.utterance_id, {"frames": features[u.utterance_id]}) for u in rows if u.shard == shard]
        write_sequences(tmp_path / f"train.{shard}.h5", own, kind="features", attrs={"dim": 4, "frame_shift_s": 0.01})
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    return tmp_path


def lang(folder):
    return main(
        ["lang", "--lexicon", f"{folder}/lexicon.txt", "--options", json.dumps(HMM), "--out-dir", f"{folder}/lang"]
    )


def command(name, folder, *flags, processes=2, options=HMM):
    features = [f"{folder}/train.{shard}.h5" for shard in (0, 1)]
    common = ["--lang-dir", f"{folder}/lang", "--table", f"{folder}/train.tsv", "--features", *features]
    common += ["--cmvn", f"{folder}/train.cmvn.h5", "--options", json.dumps(options)]
    common += ["--feature-options", json.dumps(FEATURES), "--processes", str(processes)]
    return main([name, *common, *[flag.format(folder) for flag in flags]])


MONO = ("--out", "{}/mono.h5", "--report", "{}/mono.json")
ALIGN = ("--model", "{}/mono.h5", "--out", "{}/ali.h5", "--report", "{}/ali.json")
TRI = ("--from-model", "{}/mono.h5", "--from-alignments", "{}/ali.h5", "--out", "{}/tri.h5", "--report", "{}/tri.json")


def test_from_lexicon_to_triphones(data):
    assert lang(data) == 0
    assert command("train-mono", data, *MONO) == 0
    assert command("align", data, *ALIGN) == 0
    assert command("train-tri", data, *TRI) == 0
    mono, tri = load_model(data / "mono.h5"), load_model(data / "tri.h5")
    assert (mono.context_width, tri.context_width) == (1, 3) and mono.feature_options == FEATURES
    report = json.loads((data / "ali.json").read_text())
    assert report["utterances"] == 24 and report["aligned"] == 22
    reasons = {row["utterance_id"]: row["reason"] for row in report["failed"]}
    assert set(reasons) == {"utt22", "utt23"} and "too short: 5 frames" in reasons["utt23"]
    with Sequences(data / "ali.h5", kind="alignment") as store:
        assert len(store) == 22 and store.rows == report["frames"] and store.attrs["num_pdfs"] == mono.num_pdfs
        ids, transitions = store.memmap("ids"), store.memmap("transition_ids")
        np.testing.assert_array_equal(ids, mono.id2pdf[np.asarray(transitions)])
    # The same once more, in one process: the same bytes.
    before = [(data / name).read_bytes() for name in ("mono.h5", "ali.h5", "tri.h5", "tri.json")]
    assert command("train-mono", data, *MONO, processes=1) == 0
    assert command("align", data, *ALIGN, processes=1) == 0
    assert command("train-tri", data, *TRI, processes=1) == 0
    assert before == [(data / name).read_bytes() for name in ("mono.h5", "ali.h5", "tri.h5", "tri.json")]


def error(capsys):
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert ": error: " in line
    return line


def test_alignments_of_another_model_are_refused(data, capsys):
    lang(data)
    assert command("train-mono", data, *MONO) == 0 and command("align", data, *ALIGN) == 0
    other = HMM | {"seed": 2}
    assert command("train-mono", data, *MONO, options=other) == 0
    assert command("train-tri", data, *TRI) == 2
    assert "ali.h5: not made with" in error(capsys)


def test_words_outside_the_lexicon(data, capsys):
    (data / "lexicon.txt").write_text("BA  b a\n")
    lang(data)
    assert command("train-mono", data, *MONO) == 2
    assert "2 words of the transcripts are not in the lexicon: BAD DA" in error(capsys)
    assert not (data / "mono.h5").exists()


def test_missing_language_directory(data, capsys):
    assert command("train-mono", data, *MONO) == 2
    assert "no such file" in error(capsys)


def test_unknown_option(data, capsys):
    assert main(["lang", "--lexicon", f"{data}/lexicon.txt", "--options", '{"beem": 1}', "--out-dir", f"{data}/x"]) == 2
    assert "--options.beem: unknown key" in error(capsys)
