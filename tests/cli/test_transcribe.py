"""Using a recogniser: transcribe, export and unisono.load, on recordings of tones with known words and times."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.support.settings import section
from unisono.__main__ import main
from unisono.recognise.transcribe import Borders

RATE = 8000


def unisono(capsys, *arguments, expect=0):
    """Run a command in this process; return what it printed, or its error line."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == expect, printed.err
    if expect:
        lines = [line for line in printed.err.splitlines() if "error:" in line]
        assert len(lines) == 1 and "Traceback" not in printed.err, printed.err
        return lines[0]
    return printed.out


@pytest.fixture(scope="module")
def exported(tones, tmp_path_factory):
    """An exported folder that was copied elsewhere."""
    folder, _ = tones
    first = tmp_path_factory.mktemp("export")
    assert main(["export", str(folder / "runs/main"), str(first / "out"), "--licence", "CC BY 4.0"]) == 0
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(first / "out", elsewhere)
    shutil.rmtree(first)
    return elsewhere


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_words_as_the_pipeline(tones, exported, capsys, processes):
    folder, truth = tones
    expected = (folder / "runs/main/hyp.txt").read_text(encoding="utf-8")
    right = {name: [word for word, *_ in times] for name, (_, times) in truth.items()}
    assert sum(line.split()[1:] == right[line.split()[0]] for line in expected.splitlines()) == len(truth)
    for system in (folder / "runs/main", exported):
        found = unisono(
            capsys, "transcribe", "--table", folder / "data/test.tsv", "--system", system, "--processes", processes
        )
        assert found == expected


def test_speakers_matter_and_order_does_not(tones, exported, capsys, tmp_path):
    """CMVN takes the recordings of a speaker together, in whatever order they come."""
    folder, truth = tones
    rows = (folder / "data/test.tsv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "turned.tsv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n", encoding="utf-8")
    found = unisono(capsys, "transcribe", "--table", tmp_path / "turned.tsv", "--system", exported)
    assert found.splitlines() == (folder / "runs/main/hyp.txt").read_text(encoding="utf-8").splitlines()[::-1]
    files = [folder / f"data/audio/{name}.flac" for name in truth]
    alone = unisono(capsys, "transcribe", *files, "--system", exported, "--format", "json")
    assert [json.loads(line)["speaker_id"] for line in alone.splitlines()] == list(truth)
    together = unisono(capsys, "transcribe", *files, "--system", exported, "--format", "json", "--one-speaker")
    assert {json.loads(line)["speaker_id"] for line in together.splitlines()} == {"all"}


def test_features_are_those_of_the_pipeline(tones):
    """The same numbers for the same speakers; others where each file is a speaker, or by other statistics."""
    from unisono.config.features import FeatureOptions
    from unisono.data.features.reader import FeatureReader
    from unisono.data.features.recordings import RecordingFeatures, of_files, read_recordings

    folder, truth = tones
    sections = json.loads((folder / "runs/main/recogniser.json").read_text())["settings"]
    options = section(FeatureOptions, **sections["features"])
    shards = [folder / f"features/net/test.{shard}.h5" for shard in range(2)]
    reader = FeatureReader(folder / "data/test.tsv", shards, folder / "features/net/test.cmvn.h5", options)
    fixed = section(FeatureOptions, **sections["features"] | {"cmvn": "global"})
    table, files = read_recordings(folder / "data/test.tsv"), of_files([u.path for u in reader.utterances])
    ours, alone = RecordingFeatures(table[::-1], options, RATE), RecordingFeatures(files, options, RATE)
    other = RecordingFeatures(table, fixed, RATE, {"global": np.ones((2, 13)) * [[5.0], [30.0]]})
    for features in (ours, alone, other):
        features.compute()
    for name in truth:
        expected = reader.get(name)
        assert ours.get(name).tobytes() == expected.tobytes()
        assert not np.allclose(alone.get(name), expected) and not np.allclose(other.get(name), expected)


def test_times_of_words(tones, exported, capsys):
    folder, truth = tones
    table = ["--table", folder / "data/test.tsv", "--system", exported]
    ctm = unisono(capsys, "transcribe", *table, "--format", "ctm")
    found: dict = {}
    for line in ctm.splitlines():
        name, channel, start, duration, word = line.split()
        assert channel == "1"
        found.setdefault(name, []).append((word, float(start), float(start) + float(duration)))
    assert list(found) == sorted(truth)
    late = []
    for name, (_, times) in truth.items():
        assert [word for word, *_ in found[name]] == [word for word, *_ in times]
        given = np.array([span for _, *span in found[name]])
        late.append(given - np.array([span for _, *span in times]) / RATE)
        assert np.abs(late[-1]).max() < 0.03, name
    # A window of 25 ms every 10 ms: without its middle all borders would come 7.5 ms early.
    assert abs(np.concatenate(late).mean()) < 0.004
    lines = unisono(capsys, "transcribe", *table, "--format", "json", "--times").splitlines()
    for row in map(json.loads, lines):
        spoken = [(w["word"], w["start_s"], w["start_s"] + w["duration_s"]) for w in row["words"]]
        assert [w[0] for w in spoken] == row["text"].split() and row["complete"]
        assert np.allclose([w[1:] for w in spoken], [w[1:] for w in found[row["utterance_id"]]])
        assert set(row) == {"utterance_id", "speaker_id", "path", "duration_s", "text", "complete", "words"}


def test_borders_between_frames():
    """The first is the recording's begin, the last its end, the others lie between the windows' middles."""
    borders = Borders(98, 1.0, 10.0, 15.0)
    assert [borders.at(frame) for frame in (0, 1, 50, 97, 98)] == pytest.approx([0, 0.0175, 0.5075, 0.9775, 1])
    assert Borders(1, 0.025, 10.0, 15.0).at(1) == 0.025 and Borders(2, 0.036, 10.0, 15.0).at(1) == 0.0175


def test_phones_that_know_their_position_change_no_word_and_no_time(tones, positioned_tones, capsys, tmp_path):
    """Their variants share all PDFs here, so that decoding, export and forced alignment must find the same."""
    assert " a_E\n" in (positioned_tones / "hmm/lang/lexicon.txt").read_text(encoding="utf-8")
    assert main(["export", str(positioned_tones / "runs/main"), str(tmp_path / "out")]) == 0
    for name in ("runs/main/hyp.txt", "graph/lm.arpa"):
        assert (positioned_tones / name).read_bytes() == (tones[0] / name).read_bytes()
    table = ["--table", tones[0] / "data/test.tsv", "--format", "ctm"]
    expected = unisono(capsys, "transcribe", *table, "--system", tones[0] / "runs/main")
    assert len(expected.splitlines()) == sum(len(times) for _, times in tones[1].values())
    assert unisono(capsys, "transcribe", *table, "--system", tmp_path / "out") == expected


def test_real_time_factor_progress_and_out(tones, exported, capsys, tmp_path):
    folder, truth = tones
    capsys.readouterr()
    given = ["transcribe", "--table", str(folder / "data/test.tsv"), "--system", str(exported)]
    assert main([*given, "--out", str(tmp_path / "out.txt")]) == 0
    printed = capsys.readouterr()
    assert printed.out == "" and (tmp_path / "out.txt").read_bytes() == (folder / "runs/main/hyp.txt").read_bytes()
    assert re.search(r"8 recordings, \d+\.\d s of audio in \d+\.\d s .*real-time factor \d+\.\d{3}", printed.err)
    assert f"Words: {len(truth)} of {len(truth)}" in printed.err


def test_export_holds_all_and_says_where_from(tones, exported, capsys, tmp_path):
    folder, _ = tones
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {"recogniser.json", "final.safetensors", "HCLG.fst", "model.h5", "lang/words.txt", "lang/L.fst",
            "provenance.json", "README.md"} <= names  # fmt: skip
    provenance = json.loads((exported / "provenance.json").read_text())
    assert provenance["licence"]["model"] == "CC BY 4.0" and provenance["wer"]["words"] == 15
    assert provenance["config"] == {"seed": 1} and provenance["final"] == {"version": "x"}
    readme = (exported / "README.md").read_text()
    assert "CC BY 4.0" in readme and f"{RATE} Hz" in readme and "{" not in readme
    assert str(folder) not in "".join(path.read_text() for path in exported.glob("*.json"))
    again = tmp_path / "again"
    unisono(capsys, "export", exported, again)
    for name in names:
        assert (again / name).read_bytes() == (exported / name).read_bytes(), name
    assert (again.stat().st_mode & 0o700) == 0o700
    error = unisono(capsys, "export", exported, again, expect=2)
    assert "is there already" in error


def test_a_failed_export_leaves_nothing(tones, tmp_path, monkeypatch, capsys):
    folder, _ = tones
    real = shutil.copyfile

    def full(source, target, **more):
        if str(target).endswith("HCLG.fst"):
            raise OSError(28, "No space left on device", str(target))
        return real(source, target, **more)

    monkeypatch.setattr(shutil, "copyfile", full)
    assert "No space left" in unisono(capsys, "export", folder / "runs/main", tmp_path / "out", expect=2)
    assert list(tmp_path.iterdir()) == []


def test_global_statistics_travel_along(tones, tmp_path, capsys):
    """With `cmvn: global` the training set's statistics belong to the recogniser."""
    from unisono.data.features import cmvn
    from unisono.files import write_json
    from unisono.recognise.system import describe

    folder, _ = tones
    shutil.copytree(folder, tmp_path / "results", symlinks=True)
    run = tmp_path / "results/runs/main"
    facts = json.loads((run / "recogniser.json").read_text())
    facts["settings"]["features"]["cmvn"] = "global"
    cmvn.write_statistics(tmp_path / "results/train.cmvn.h5", {"global": np.ones((2, 13)) * [[5.0], [30.0]]}, 12)
    files = {part: None if path is None else str(run / path) for part, path in facts["files"].items()}
    files["cmvn"] = str(tmp_path / "results/train.cmvn.h5")
    kept = {key: value for key, value in facts.items() if key not in ("files", "sha256", "format", "version")}
    write_json(run / "recogniser.json", describe(run, files, kept))
    unisono(capsys, "export", run, tmp_path / "out")
    assert (tmp_path / "out/cmvn.h5").read_bytes() == (tmp_path / "results/train.cmvn.h5").read_bytes()
    table = ["transcribe", "--table", folder / "data/test.tsv"]
    assert unisono(capsys, *table, "--system", tmp_path / "out") == unisono(capsys, *table, "--system", run)


def write_sound(path, *, rate=RATE, channels=1, seconds=1.0, silent=False):
    chance = np.random.default_rng(1)
    samples = chance.normal(scale=0.0 if silent else 0.1, size=(int(rate * seconds), channels))
    soundfile.write(path, samples, rate)
    return path


def test_mistakes_are_one_line(tones, exported, capsys, tmp_path):
    folder, _ = tones
    good = folder / "data/audio/utt0.flac"
    sound = {
        "rate": write_sound(tmp_path / "rate.wav", rate=16000),
        "stereo": write_sound(tmp_path / "stereo.wav", channels=2),
        "empty": write_sound(tmp_path / "empty.wav", seconds=0),
    }
    (tmp_path / "cut.wav").write_bytes(write_sound(tmp_path / "whole.wav").read_bytes()[:5000])
    (tmp_path / "bad.tsv").write_text("utterance_id\tpath\nu\tx.wav\n")
    (tmp_path / "twice.tsv").write_text("utterance_id\tspeaker_id\tpath\nu\ts\tx.wav\nu\ts\ty.wav\n")
    (tmp_path / "none.tsv").write_text("utterance_id\tspeaker_id\tpath\n")
    cases = [
        ([], "give one of these: recordings, a table"),
        ([good, "--table", tmp_path / "bad.tsv"], "give one of these: recordings, a table"),
        ([good, good], "given twice"),
        ([tmp_path / "nowhere.wav"], "nowhere.wav: no such file: check the path"),
        ([good, tmp_path], "not a plain file"),
        ([sound["rate"]], "16000 Hz, the model was trained on 8000 Hz"),
        ([sound["stereo"]], "2 channels"),
        ([sound["empty"]], "empty"),
        ([tmp_path / "cut.wav"], "truncated"),
        (["--table", tmp_path / "bad.tsv"], "column 'speaker_id' is missing"),
        (["--table", tmp_path / "twice.tsv"], "line 3: utterance id u: there more than once"),
        (["--table", tmp_path / "none.tsv"], "no recordings"),
        (["--table", folder / "data/test.tsv", "--one-speaker"], "--one-speaker"),
        ([good, "--format", "words"], "invalid choice"),
        ([good, "--times"], "--times: goes with --format json"),
    ]
    for arguments, message in cases:
        assert message in unisono(capsys, "transcribe", *arguments, "--system", exported, expect=2), arguments
    for system, message in [(tmp_path, "no recogniser.json"), (folder, "no recogniser.json")]:
        assert message in unisono(capsys, "transcribe", good, "--system", system, expect=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "HCLG.fst").write_bytes(b"x"), "HCLG.fst: changed since"),
        (lambda folder: (folder / "lang/words.txt").unlink(), "words.txt: no such file"),
        (lambda folder: (folder / "recogniser.json").write_text("{"), "not readable as JSON"),
        (lambda folder: (folder / "recogniser.json").write_text("[]"), "not of format"),
        (lambda folder: rewrite(folder, "settings", {}), "damaged"),
        (lambda folder: rewrite(folder, "sampling_rate", "fast"), "damaged"),
        (lambda folder: rewrite(folder, "files", {"network": "/etc/passwd"}), "lies elsewhere"),
        (lambda folder: rewrite(folder, "files", {"graph": "../../../../x"}), "lies elsewhere"),
    ],
)
def test_a_damaged_folder_is_named(tones, exported, capsys, tmp_path, change, message):
    shutil.copytree(exported, tmp_path / "copy")
    change(tmp_path / "copy")
    good = tones[0] / "data/audio/utt0.flac"
    assert message in unisono(capsys, "transcribe", good, "--system", tmp_path / "copy", expect=2)


def rewrite(folder, key, value):
    facts = json.loads((folder / "recogniser.json").read_text())
    facts[key] = facts[key] | value if key == "files" else value
    (folder / "recogniser.json").write_text(json.dumps(facts))


def test_silence_and_less_than_a_frame(exported, capsys, tmp_path):
    files = [write_sound(tmp_path / "short.wav", seconds=0.01), write_sound(tmp_path / "a b.wav", silent=True)]
    out = unisono(capsys, "transcribe", *files, "--system", exported, "--format", "json", "--times")
    short, other = map(json.loads, out.splitlines())
    assert short["text"] == "" and short["words"] == [] and not short["complete"]
    assert other["utterance_id"] == "a_b"
    assert unisono(capsys, "transcribe", *files[:1], "--system", exported) == "short\n"


def test_files_of_one_name_go_by_their_paths():
    from unisono.data.features.recordings import of_files

    assert [recording.utterance_id for recording in of_files(["a/1.wav", "b/1.wav"])] == ["a/1.wav", "b/1.wav"]


def test_the_example_of_the_page_runs(root, tones, exported, tmp_path):
    """The Python of docs/use.md, as it stands there, gives what the decoder searches with."""
    page = (root / "docs/use.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    code = code.replace("SYSTEM", str(exported)).replace("recording.wav", str(tones[0] / "data/audio/utt0.flac"))
    check = (
        "\nassert log_posteriors.shape == log_likelihoods.shape == (len(frames), 12)\n"
        "assert torch.allclose(log_posteriors.exp().sum(-1), torch.ones(len(frames)), atol=1e-5)\n"
        "from unisono.recognise.acoustics import network_scorer\n"
        f"scores = network_scorer({str(exported / 'final.safetensors')!r}, 1, features, 12)\n"
        "assert torch.allclose(torch.from_numpy(scores(name)), log_likelihoods, atol=1e-4)\n"
    )
    (tmp_path / "example.py").write_text(code + check, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "example.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
