"""The recogniser of a finished pipeline, used on the test recordings: in place, and exported to another folder."""

import subprocess
import sys


def unisono(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "unisono", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def test_transcribe_gives_the_words_of_the_pipeline(finished, tmp_path):
    run, table = finished.results / "runs/main", finished.results / "data/test.tsv"
    expected = (run / "hyp.txt").read_text(encoding="utf-8")
    here = unisono("transcribe", "--system", run, "--table", table)
    assert here.stdout == expected and "real-time factor" in here.stderr
    unisono("export", run, tmp_path / "export")
    assert unisono("transcribe", "--system", tmp_path / "export", "--table", table).stdout == expected
    ctm = unisono("transcribe", "--system", tmp_path / "export", "--table", table, "--format", "ctm").stdout
    words = [line.split() for line in expected.splitlines()]
    assert [(row[0], row[4]) for row in map(str.split, ctm.splitlines())] == [(u, w) for u, *ws in words for w in ws]
