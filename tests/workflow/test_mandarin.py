"""A corpus in Chinese characters from speech to character error rate, with an LSTM, and frames aligned by that LSTM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.edit_distance import distance
from unisono.data.corpus.table import read_table

CONFIG = Path(__file__).resolve().parents[2] / "config" / "spoken_mandarin.yaml"


def texts(lines):
    return {line.split()[0]: "".join(line.split()[1:]) for line in lines}


@pytest.mark.slow
def test_characters_of_an_lstm_and_its_alignment(workspace):
    first = workspace.run(config=CONFIG, timeout=1200)
    assert first.returncode == 0, first.stdout[-4000:]
    results = workspace.folder / "results/spoken_mandarin"
    table = read_table(results / "data/test.tsv")
    said = {row.utterance_id: row.transcript.replace(" ", "") for row in table}
    heard = texts((results / "runs/main/hyp.txt").read_text(encoding="utf-8").splitlines())
    numbers = json.loads((results / "runs/main/wer.json").read_text())
    errors = sum(distance(said[name], heard.get(name, "")) for name in said)
    assert numbers["character_errors"] == errors and numbers["characters"] == sum(map(len, said.values()))
    assert numbers["cer"] == errors / numbers["characters"] < numbers["wer"] < 0.2
    recording = table[0]
    command = [sys.executable, "-m", "unisono", "transcribe", "--system", results / "runs/main", recording.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "".join(done.stdout.split()[1:]) == heard[recording.utterance_id]

    mine = CONFIG.read_text(encoding="utf-8").replace("name: spoken_mandarin", "name: aligned")
    mine = mine.replace("\nhmm:", "\nhmm:\n  align_with: {name: spoken_mandarin}").replace(
        "systems: [tri]", "systems: []"
    )
    second = workspace.run(config=workspace.config("aligned.yaml", mine), timeout=1200)
    assert second.returncode == 0, second.stdout[-4000:]
    aligned = json.loads((workspace.folder / "results/aligned/runs/main/wer.json").read_text())
    print(f"CER {numbers['cer']:.4f}, after the LSTM's alignment {aligned['cer']:.4f}")
    assert aligned["cer"] < numbers["cer"] + 0.05
