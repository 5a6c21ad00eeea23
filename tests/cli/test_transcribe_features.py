"""Using a recogniser on features in place of audio, and on audio where its features were Kaldi's."""

import json
import shutil

import numpy as np
import pytest

from unisono.__main__ import main
from unisono.config.build import build
from unisono.config.features import FeatureOptions
from unisono.data.features import cmvn
from unisono.data.features.kaldi_conf import write_conf
from unisono.data.kaldi.archive import Script
from unisono.data.kaldi.write import archive_writer
from unisono.files import read_json, write_json


@pytest.fixture(scope="module")
def given(tones, tmp_path_factory):
    """The tones' base features as Kaldi has them: feats.scp, feats.ark, cmvn.scp and utt2spk."""
    folder, out = tones[0], tmp_path_factory.mktemp("given")
    settings = read_json(folder / "runs/main/recogniser.json")["settings"]["features"]
    flags = ["--options", json.dumps(settings), "--format", "ark", "--out", str(out / "feats.ark")]
    assert main(["features", "--table", str(folder / "data/test.tsv"), *flags, "--scp", str(out / "feats.scp")]) == 0
    rows = [line.split("\t") for line in (folder / "data/test.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    speakers = {row[0]: row[1] for row in rows}
    (out / "utt2spk").write_text("".join(f"{name} {speaker}\n" for name, speaker in speakers.items()))
    script = Script(out / "feats.scp", "matrix")
    with archive_writer(out / "cmvn.ark", out / "cmvn.scp") as writer:
        sums = cmvn.statistics(((speakers[name], value) for name, value in script.items()), "speaker")
        for speaker, value in sums.items():
            writer.add(speaker, value)
    return out


@pytest.fixture
def of_kaldi(tones, tmp_path):
    """The tones' system as if it had been trained on features of Kaldi."""
    shutil.copytree(tones[0], tmp_path / "tones")
    run = tmp_path / "tones/runs/main"
    facts = read_json(run / "recogniser.json")
    facts["settings"]["features"] = {
        "kind": "kaldi", "numbers": 12, "deltas": 1, "cmvn": "speaker", "cmvn_variance": True,
    }  # fmt: skip
    write_json(run / "recogniser.json", facts | {"sampling_rate": 0})
    return run


def words(tmp_path, run, *flags):
    out = tmp_path / "words"
    assert main(["transcribe", "--system", str(run), *map(str, flags), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("feats", ["feats.scp", "feats.ark"])
def test_features_in_place_of_recordings(tones, given, of_kaldi, tmp_path, feats, processes):
    expected = (tones[0] / "runs/main/hyp.txt").read_text(encoding="utf-8")
    flags = ["--feats", given / feats, "--utt2spk", given / "utt2spk", "--processes", processes]
    for run in (tones[0] / "runs/main", of_kaldi):
        assert words(tmp_path, run, *flags) == expected
        assert words(tmp_path, run, *flags, "--cmvn", given / "cmvn.scp") == expected
    alone = words(tmp_path, of_kaldi, "--feats", given / feats)  # each utterance a speaker of its own
    assert [line.split()[0] for line in alone.splitlines()] == [line.split()[0] for line in expected.splitlines()]


def test_times_count_from_the_first_frame(tones, given, of_kaldi, tmp_path):
    flags = ["--format", "json", "--times"]
    theirs = words(tmp_path, of_kaldi, "--feats", given / "feats.scp", "--utt2spk", given / "utt2spk", *flags)
    ours = words(tmp_path, tones[0] / "runs/main", "--table", tones[0] / "data/test.tsv", *flags)
    for row, other in zip(map(json.loads, theirs.splitlines()), map(json.loads, ours.splitlines()), strict=True):
        assert row["text"] == other["text"] and row["speaker_id"] == other["speaker_id"]
        assert row["path"].endswith("feats.scp") and row["duration_s"] < other["duration_s"]
        for word, same in zip(row["words"][1:], other["words"][1:], strict=True):
            # Of a recording it is known that a frame stands for the middle of its window of 25 ms.
            assert same["start_s"] - word["start_s"] == pytest.approx(0.0075, abs=1e-4)


def test_recordings_for_a_system_on_features_of_kaldi(tones, given, of_kaldi, tmp_path, capsys):
    table = ["--table", tones[0] / "data/test.tsv"]
    assert main(["transcribe", "--system", str(of_kaldi), *map(str, table)]) == 2
    assert "trained on features of Kaldi: give them by --feats, or with recordings --conf" in capsys.readouterr().err
    settings = read_json(tones[0] / "runs/main/recogniser.json")["settings"]["features"]
    name, lines = write_conf(build(FeatureOptions, settings, "features"), 8000)
    (tmp_path / name).write_text("".join(f"--{key}={value}\n" for key, value in lines.items()))
    found = words(tmp_path, of_kaldi, *table, "--conf", tmp_path / name)
    assert found == (tones[0] / "runs/main/hyp.txt").read_text(encoding="utf-8")
    (tmp_path / name).write_text("--num-mel-bins=13\n--sample-frequency=8000\n")
    assert main(["transcribe", "--system", str(of_kaldi), *map(str, table), "--conf", str(tmp_path / name)]) == 2
    assert "13 features a frame" in capsys.readouterr().err


def test_log_likelihoods_of_given_features(tones, given, of_kaldi, tmp_path):
    ark = ["--out", str(tmp_path / "likes.ark"), "--scp", str(tmp_path / "likes.scp")]
    assert (
        main(["loglikes", "--system", str(tones[0] / "runs/main"), "--table", str(tones[0] / "data/test.tsv"), *ark])
        == 0
    )
    expected = dict(Script(tmp_path / "likes.scp", "matrix"))
    flags = ["--feats", str(given / "feats.scp"), "--utt2spk", str(given / "utt2spk"), *ark]
    assert main(["loglikes", "--system", str(of_kaldi), *flags]) == 0
    found = dict(Script(tmp_path / "likes.scp", "matrix"))
    assert list(found) == list(expected) and all(np.array_equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--feats", "feats.scp", "a.wav"], "AUDIO, --table, --feats: give one of these"),
        (["--cmvn", "cmvn.scp", "a.wav"], "--cmvn: goes with --feats"),
        (["--utt2spk", "utt2spk", "a.wav"], "--utt2spk: goes with --feats"),
        (["--conf", "fbank.conf", "--feats", "feats.scp"], "--conf: goes with recordings"),
        (["--one-speaker", "--feats", "feats.scp"], "--one-speaker: goes with AUDIO"),
        (["--conf", "fbank.conf", "a.wav"], "knows how its features are computed"),
        (["--feats", "narrow.ark"], "5 features a frame, .* reads 12"),
        (["--feats", "feats.scp", "--cmvn", "cmvn.scp"], "'utt0' of 'utt0' is missing"),
        (["--feats", "nowhere.scp"], "nowhere.scp: no such file"),
    ],
)
def test_what_does_not_go_together(tones, given, tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(given)
    with archive_writer(given / "narrow.ark") as writer:
        writer.add("utt0", np.zeros((9, 5), np.float32))
    assert main(["transcribe", "--system", str(tones[0].absolute() / "runs/main"), *flags]) == 2
    err = capsys.readouterr().err
    import re

    assert re.search(said, err) and err.count("\n") == 1
