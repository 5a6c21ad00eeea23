"""Public originals become the corpora of the ready-made configs: miniatures of their layouts, made of ours."""

import gzip
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unisono.data.corpus.audio import read_audio
from unisono.data.corpus.originals import ORIGINALS, TABLES, convert, convert_corpus, plan
from unisono.errors import UserError

CUT = ("utterances.tsv", "samples.tsv", "conversion.tsv")  # tables of which the miniatures have some rows only


def _few(path: Path, name: str, out: Path, every: int) -> list[dict[str, str]]:
    """Write every so manyth row of a table of ours under `out`; return these rows."""
    heading, *lines = gzip.decompress((path / f"{name}.gz").read_bytes()).decode().splitlines()
    (out / name).write_text("\n".join([heading, *lines[::every]]) + "\n")
    return [dict(zip(heading.split("\t"), line.split("\t"), strict=True)) for line in lines[::every]]


def _tables(name: str, out: Path, every: int) -> dict[str, dict[str, dict[str, str]]]:
    (out / name).mkdir(parents=True)
    (out / name / "lexicon.txt").write_text("ONE  W AH N\n")
    names = [table for table in CUT if (TABLES / name / f"{table}.gz").exists()]
    found = {table: _few(TABLES / name, table, out / name, every) for table in names}
    return {table: {row["utterance_id"]: row for row in rows} for table, rows in found.items()}


def test_fsdd_from_its_repository(corpora_dir: Path, tmp_path: Path) -> None:
    tables = _tables("fsdd", tmp_path / "tables", 97)
    (tmp_path / "free-spoken-digit-dataset/recordings").mkdir(parents=True)
    for utt, row in tables["utterances.tsv"].items():
        samples, rate = soundfile.read(corpora_dir / "fsdd" / row["path"], dtype="int16")
        speaker, digit, index = utt.split("_")
        soundfile.write(
            tmp_path / f"free-spoken-digit-dataset/recordings/{digit}_{speaker}_{int(index)}.wav", samples, rate
        )
    made = convert_corpus("fsdd", tmp_path / "free-spoken-digit-dataset", tmp_path / "corpora", 2, tmp_path / "tables")
    assert made.recordings == len(tables["utterances.tsv"]) == 31 and made.different == []
    for row in tables["utterances.tsv"].values():
        ours, _ = soundfile.read(corpora_dir / "fsdd" / row["path"], dtype="int16")
        theirs, _ = soundfile.read(tmp_path / "corpora/fsdd" / row["path"], dtype="int16")
        np.testing.assert_array_equal(ours, theirs)
    assert sorted(path.name for path in (tmp_path / "corpora/fsdd").iterdir()) == [
        "audio",
        "lexicon.txt",
        "utterances.tsv",
    ]


def test_speechocean762_from_openslr(corpora_dir: Path, tmp_path: Path) -> None:
    tables = _tables("speechocean762", tmp_path / "tables", 150)
    rng = np.random.default_rng(1)
    for utt, row in tables["utterances.tsv"].items():
        change = tables["conversion.tsv"][utt]
        ours, rate = soundfile.read(corpora_dir / "speechocean762" / row["path"], dtype="int16")
        # Lowest bits that rounding takes away again, and silence at both ends that cutting takes away.
        half = 1 << int(change["dropped_bits"]) >> 1
        noisy = ours + (rng.integers(1 - half, half, len(ours)) if half > 1 else 0)
        begin = round(float(change["trim_start_s"]) * rate)
        original = rng.integers(-9, 9, round(float(change["source_duration_s"]) * rate))
        original[begin : begin + len(ours)] = np.clip(noisy, -32768, 32767)
        path = tmp_path / "speechocean762" / change["source_file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, original.astype(np.int16), rate, format="WAV")
    assert len({change["dropped_bits"] for change in tables["conversion.tsv"].values()}) >= 4
    assert any(float(change["trim_start_s"]) for change in tables["conversion.tsv"].values())
    made = convert_corpus("speechocean762", tmp_path, tmp_path / "corpora", 1, tmp_path / "tables")
    assert made.recordings == 24 and made.different == []
    # One sample off is found.
    samples, rate = soundfile.read(path, dtype="int16")
    samples[begin] += 1024
    soundfile.write(path, samples, rate, format="WAV")
    assert convert_corpus("speechocean762", tmp_path, tmp_path / "corpora", 1, tmp_path / "tables").different == [utt]


def _noise_as_original(name: str, tables: dict[str, dict[str, dict[str, str]]], source: Path) -> None:
    """Write noise under the names of the original's recordings, each as long as that."""
    rate, rng = ORIGINALS[name][0], np.random.default_rng(1)
    for utt, row in tables["samples.tsv"].items():
        if change := tables.get("conversion.tsv", {}).get(utt):
            path, length = source / change["source_file"], round(float(change["source_duration_s"]) * rate)
        else:
            speaker, digit, index = utt.split("_")
            path, length = source / f"recordings/{digit}_{speaker}_{int(index)}.wav", int(row["samples"])
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.integers(-999, 999, length).astype(np.int16), rate, format="WAV")


@pytest.mark.parametrize(
    ("name", "config"),
    [("fsdd", "fsdd"), ("fsdd", "fsdd_published"), ("speechocean762", "speechocean762")],
)
def test_what_is_written_runs_with_the_config_as_it_is(root: Path, tmp_path: Path, name: str, config: str) -> None:
    """Every file that the config names is there: table of speakers, lexicon, text, language model."""
    rows = _tables(name, tmp_path / "tables", 1000)
    for path in (TABLES / name).iterdir():
        if path.name.removesuffix(".gz") not in CUT:
            shutil.copy(path, tmp_path / "tables" / name)
    _noise_as_original(name, rows, tmp_path / "original")
    made = convert_corpus(name, tmp_path / "original", tmp_path / "corpora", 1, tmp_path / "tables")
    assert made.recordings == len(made.different) == len(rows["utterances.tsv"])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--snakefile", root / "Snakefile"]
        + ["--directory", tmp_path, "--configfile", root / f"config/{config}.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0 and f"results/{config}/report/summary.txt" in done.stdout, done.stdout[-3000:]


def test_halves_are_rounded_to_even_multiples() -> None:
    samples = np.array([9, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 32767, -32768], np.float32)
    assert convert(samples, 1, 10, 1).tolist() == [-4, -2, 0, 0, 0, 2, 4, 4, 4, 6]
    assert convert(samples, 1, 10, 2).tolist() == [-4, 0, 0, 0, 0, 0, 4, 4, 4, 8]
    assert convert(samples, 0, 13, 0).tolist() == samples.tolist()
    assert convert(samples, 11, 2, 5).tolist() == [32767, -32768]


def _synthetic(tmp_path: Path) -> Path:
    """Write a one-recording fsdd with tables of its own; return the recording."""
    (tmp_path / "tables/fsdd").mkdir(parents=True)
    samples = np.arange(800, dtype=np.int16)
    crc = zlib.crc32(samples.astype("<i2").tobytes())
    rows = "utterance_id\tpath\nanna_3_07\taudio/anna/anna_3_07.flac\n"
    (tmp_path / "tables/fsdd/utterances.tsv").write_text(rows)
    (tmp_path / "tables/fsdd/samples.tsv").write_text(f"utterance_id\tsamples\tcrc32\nanna_3_07\t800\t{crc:08x}\n")
    path = tmp_path / "3_anna_7.wav"
    soundfile.write(path, samples, 8000)
    return path


def _refused(tmp_path: Path) -> str:
    with pytest.raises(UserError) as caught:
        convert_corpus("fsdd", tmp_path, tmp_path / "corpora", 1, tmp_path / "tables")
    assert not (tmp_path / "corpora/fsdd/utterances.tsv").exists()
    return str(caught.value)


def test_other_originals_are_named(tmp_path: Path) -> None:
    path = _synthetic(tmp_path)
    good = path.read_bytes()
    soundfile.write(path, np.zeros(801, np.int16), 8000)
    line = _refused(tmp_path)
    assert "3_anna_7.wav: 801 samples at 8000 Hz, expected 800 at 8000 Hz: this is another release" in line
    soundfile.write(path, np.zeros(800, np.int16), 16000)
    assert "800 samples at 16000 Hz" in _refused(tmp_path)
    path.write_bytes(good[:300])
    assert "3_anna_7.wav: truncated" in _refused(tmp_path)
    path.unlink()
    line = _refused(tmp_path)
    assert "1 of 1 recordings are missing" in line and "recordings/3_anna_7.wav" in line and "own-data.md" in line
    path.write_bytes(good)
    assert convert_corpus("fsdd", tmp_path, tmp_path / "corpora", 1, tmp_path / "tables").different == []
    samples, rate = read_audio(tmp_path / "corpora/fsdd/audio/anna/anna_3_07.flac")
    assert rate == 8000 and samples.tolist() == list(range(800))


def test_command_line(tmp_path: Path) -> None:
    for arguments, message in [
        (["fsdd", "--from", "nowhere"], "error: --from nowhere: 3000 of 3000 recordings are missing"),
        (["fsd", "--from", "nowhere"], "error: fsd: no such public corpus: known are fsdd, speechocean762"),
        (["fsdd"], "error: --from: missing: unpack https://github.com/"),
        (
            ["fsdd", "--from", "x", "--options", "{}"],
            "error: give folder and DIR, or fsdd or speechocean762 and --from DIR",
        ),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "unisono", "corpus", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["fsdd", "speechocean762"])
def test_shipped_tables_equal_the_corpora(corpora_dir: Path, tmp_path: Path, name: str) -> None:
    for path in sorted((TABLES / name).iterdir()):
        if not path.name.startswith("samples"):
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            assert data == (corpora_dir / name / path.name.removesuffix(".gz")).read_bytes()
    with pytest.raises(UserError, match="recordings are missing"):
        plan(name, tmp_path, tmp_path)
