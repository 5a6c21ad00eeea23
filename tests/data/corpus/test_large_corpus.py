"""A hundred thousand utterances: checked and planned within a minute and two gigabytes."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

UTTERANCES = 100_000


def _corpus(folder: Path) -> None:
    """Write a table of generated rows; the audio is 20 WAV and FLAC files, hard-linked."""
    rng = np.random.default_rng(1)
    words = [f"W{i:04d}" for i in range(2000)]
    bases = []
    folder.mkdir()
    for j in range(20):
        bases.append(folder / f"base{j}.{'flac' if j % 2 else 'wav'}")
        soundfile.write(bases[-1], rng.normal(0, 500, 16000).astype(np.int16), 16000)
    rows = ["utterance_id\tspeaker_id\tpath\ttranscript\tsplit"]
    said = rng.integers(0, 2000, (UTTERANCES, 12))
    for i in range(UTTERANCES):
        speaker = f"s{i // 100:04d}"
        if i % 100 == 0:
            (folder / speaker).mkdir()
        path = f"{speaker}/{speaker}_{i:06d}{bases[i % 20].suffix}"
        os.link(bases[i % 20], folder / path)
        split = "dev" if i >= 98_000 else "test" if i >= 96_000 else "train"
        rows.append(f"{Path(path).stem}\t{speaker}\t{path}\t{' '.join(words[k] for k in said[i])}\t{split}")
    (folder / "utterances.tsv").write_text("\n".join(rows) + "\n")
    (folder / "lexicon.txt").write_text("".join(f"{w}  A B {'CD'[i % 2]}\n" for i, w in enumerate(words)))


def _memory(process: psutil.Process) -> int:
    """Bytes of a process and all below it; pages that they share are counted once where the system tells (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = one.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
    return total


def _run(command: list[str], log: Path) -> int:
    """Run a command that must succeed; return the largest memory of its processes together, looked at while it runs."""
    largest = 0
    with open(log, "w") as output:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            largest = max(largest, _memory(process))
            time.sleep(0.1)
    assert process.returncode == 0, log.read_text()
    return largest


def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    """Two children with 100 MB each of their own."""
    child = "import time; held = b'x' * 100_000_000; time.sleep(1)"
    start = f"subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent = [sys.executable, "-c", f"import subprocess, sys; [child.wait() for child in ({start}, {start})]"]
    assert 200e6 < _run(parent, tmp_path / "log") < 300e6


@pytest.mark.slow
def test_a_hundred_thousand_utterances(tmp_path: Path, root: Path) -> None:
    _corpus(tmp_path / "big")
    config = tmp_path / "big.yaml"
    config.write_text(f"name: big\ncorpora_dir: {tmp_path}\ncorpus: {{kind: table, dir: big, shards: 8}}\n")
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", str(root / "Snakefile")]
    where = ["--directory", str(tmp_path), "--configfile", str(config)]
    begun = time.monotonic()
    largest = [
        _run([*snakemake, *arguments], tmp_path / "log")
        for arguments in (["results/big/data/corpus.json", *where], ["--dry-run", *where])
    ]
    seconds, gigabytes = time.monotonic() - begun, max(largest) / 1e9
    print(f"{seconds:.1f} s, all processes together {gigabytes:.2f} GB")
    assert seconds < 60 and gigabytes < 2
    with open(tmp_path / "results/big/data/train.tsv", encoding="utf-8") as file:
        assert sum(1 for _ in file) == 96_001
