"""The config alone says who evaluates the models; another engine over a finished run trains nothing."""

import numpy as np
import pytest

from unisono.data.frames.store_write import write_frames
from unisono.files import write_json

RUNS = "results/spoken_small/runs"
NAMES = ("jobs", "newbob", "virtual")
TARGETS = [f"{RUNS}/{name}/{file}" for name in NAMES for file in ("final.safetensors", "metrics.jsonl")]
RULES = ("configure", "plan", "init_model", "train_job", "combine", "diagnose", "train_virtual", "finish", "metrics")
SETTINGS = """
diagnostics: {{frames: 200}}
optimiser: {{minibatch: 64, learning_rate: {rate}}}
network: {{hidden: [8]}}
runs:
  jobs: {{parallel: {{engine: {jobs}, period_frames: 300}}}}
  newbob: {{parallel: {{engine: {jobs}, period_frames: 600}}, schedule: {{kind: newbob, epochs: 2}}}}
  virtual: {{parallel: {{engine: {virtual}, period_frames: 300, iterations_per_job: 3}}}}
"""


@pytest.fixture
def trained(workspace):
    """A workspace in which frames lie already: snakemake(*arguments) trains on them and returns what it printed."""
    rng = np.random.default_rng(1)
    for name, utterances in (("train", 40), ("dev", 8)):
        lengths = rng.integers(40, 80, utterances)
        items = [
            (f"u{i:02}", rng.standard_normal((n, 5), "f4"), rng.integers(0, 7, n, "i4")) for i, n in enumerate(lengths)
        ]
        (workspace.results / "frames").mkdir(parents=True, exist_ok=True)
        path = workspace.results / f"frames/{name}.h5"
        counts = write_frames(path, items, num_pdfs=7, frame_shift_s=0.01, dtype="float32")
        if name == "train":
            write_json(path.with_name("frames.json"), {"train": counts})

    def snakemake(*arguments, jobs="jobs", virtual="virtual", rate=0.002):
        mine = workspace.config("mine.yaml", SETTINGS.format(jobs=jobs, virtual=virtual, rate=rate))
        process = workspace.run(
            *TARGETS, *arguments, "--allowed-rules", *RULES, config=[*workspace.command()[-1:], mine]
        )
        assert process.returncode == 0, process.stdout[-6000:]
        return process.stdout

    snakemake.workspace = workspace
    return snakemake


def test_every_model_is_evaluated_once_and_another_engine_trains_nothing(trained):
    output, workspace = trained(), trained.workspace
    begun = {line.split(": Run ", 1)[1] for line in output.splitlines() if ": Run " in line}
    assert {"jobs: iteration 2, worker 0", "jobs: evaluate iteration 1"} <= begun
    assert not any(line.startswith(("newbob: evaluate", "virtual: evaluate")) for line in begun)
    found = workspace.metrics("jobs")
    assert found[-1]["iteration"] > 4  # so that the first evaluation is waited for
    assert found == workspace.metrics("virtual")
    for name in NAMES:
        assert all(row["objective_dev"] is not None for row in workspace.metrics(name) if row["worker"] is None)
    assert "Nothing to be done" in trained("--dry-run")
    switched = trained("--dry-run", jobs="virtual", virtual="jobs")
    assert "Nothing to be done" in switched, switched[-3000:]
    assert "Nothing to be done" not in trained("--dry-run", jobs="virtual", virtual="jobs", rate=0.003)
