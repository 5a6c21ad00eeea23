"""NIST's sclite, where it is installed, and our counts by its rule."""

import re
import shutil
import subprocess

import pytest

from unisono.score import wer

SCLITE = next((p for p in (shutil.which("sclite"), "/usr/lib/sctk/bin/sclite") if p and shutil.which(p)), None)
needs_sclite = pytest.mark.skipif(SCLITE is None, reason="no sclite (Debian package sctk)")


def ours_as_sclite(reference, hypothesis):
    counts = wer.count(wer.align(reference, hypothesis, wer.SCLITE))
    return (counts.insertions, counts.deletions, counts.substitutions)


def run_sclite(folder, pairs):
    """Let sclite count; returns (insertions, deletions, substitutions) of each pair."""
    for name, side in (("ref", 0), ("hyp", 1)):
        lines = [f"{' '.join(pair[side])} (spk_{i:05d})\n" for i, pair in enumerate(pairs)]
        (folder / f"{name}.trn").write_text("".join(lines))
    command = [SCLITE, "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "spu_id", "-s", "-o", "pra"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    pattern = r"id: \(spk_(\d+)\)\nScores: \(#C #S #D #I\) \d+ (\d+) (\d+) (\d+)"
    found = re.findall(pattern, (folder / "hyp.trn.pra").read_text())
    assert len(found) == len(pairs)
    return [(int(i), int(d), int(s)) for _, s, d, i in sorted(found)]
