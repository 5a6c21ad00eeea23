"""A hundred thousand utterances: checked and planned within a minute and two gigabytes."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
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


@pytest.mark.slow
def test_a_hundred_thousand_utterances(tmp_path: Path, root: Path) -> None:
    _corpus(tmp_path / "big")
    config = tmp_path / "big.yaml"
    config.write_text(f"name: big\ncorpora_dir: {tmp_path}\ncorpus: {{kind: table, dir: big, shards: 8}}\n")
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", str(root / "Snakefile")]
    where = ["--directory", str(tmp_path), "--configfile", str(config)]
    begun = time.monotonic()
    for arguments in (["results/big/data/corpus.json", *where], ["--dry-run", *where]):
        done = subprocess.run([*snakemake, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    seconds = time.monotonic() - begun
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2  # the largest process, in KiB
    print(f"{seconds:.1f} s, largest process {gigabytes:.2f} GB")
    assert seconds < 60 and gigabytes < 1  # two processes: under 2 GB together
    with open(tmp_path / "results/big/data/train.tsv", encoding="utf-8") as file:
        assert sum(1 for _ in file) == 96_001
