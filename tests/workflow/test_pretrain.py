"""Pretraining in the workflow: layers are runs that cells share, a target stops behind them, and words come out."""

import json
import re
import shutil

import pytest

SHARED = """
name: small
hmm: {align: mono, mono: {iterations: 2, gaussians: 50}}
decode: {systems: []}
network: {nonlinearity: sigmoid, hidden: [24, 16], transform: normalise}
initialisation: {kind: rbm, momentum: {ramp_frames: 4000}, parallel: {workers: 2}}
"""
RUNS = "runs: {a: {}, b: {parallel: {workers: 3}}, taller: {network: {hidden: [24, 16, 16]}}, other: {seed: 2}}\n"


RANKS = """
network: {{hidden: [24, 16], nonlinearity: sigmoid, transform: normalise}}
initialisation: {{kind: rbm, momentum: {{ramp_frames: 4000}}, parallel: {{workers: 2, period_frames: 200}}}}
parallel: {{engine: {engine}, iterations_per_job: 1000}}
resources: {{checkpoint_s: 0}}
"""


def jobs_of(output):
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}


def test_runs_share_what_they_can_of_their_stacks(workspace):
    process = workspace.run("pretrain", "--dry-run", config=workspace.config("mine.yaml", SHARED + RUNS))
    assert process.returncode == 0, process.stdout[-3000:]
    found = jobs_of(process.stdout)
    # Layers: two that a, b and taller share, a third of taller, and two of another seed.
    wanted = {"finish": 5, "join_stack": 4, "constants": 1, "tune_dnn": None, "report": None}
    assert {rule: found.get(rule) for rule in wanted} == wanted
    assert "RBM layer 2 of 3, final model" in process.stdout and "RBM layer 1 of 2, plan" in process.stdout


def test_without_rbms_there_is_nothing_to_pretrain(workspace):
    process = workspace.run("pretrain", "--dry-run", config=workspace.config("mine.yaml", "name: small\n"))
    assert process.returncode == 1
    assert "config: initialisation.kind: no run has rbm: nothing is pretrained" in process.stdout


def test_a_pretrained_network_recognises_words(finished, copied):
    mine = copied.config(
        "mine.yaml",
        """
network: {hidden: [40, 32], nonlinearity: sigmoid, transform: normalise, prior_power: -0.25}
initialisation: {kind: rbm, momentum: {ramp_frames: 8000}, parallel: {workers: 2, period_frames: 8000}}
optimiser: {learning_rate: 0.01}
parallel: {engine: virtual}
schedule: {epochs: 4}
""",
    )
    process = copied.run(config=[*copied.command()[-1:], mine])
    assert process.returncode == 0, process.stdout[-6000:]
    for line in ("RBM layer 1 of 2, iterations 0 to", "RBM layer 2 of 2, final model", "Run main: join the pretrained"):
        assert line in process.stdout
    wer = json.loads((copied.results / "runs/main/wer.json").read_text())
    assert wer["words"] > 100 and wer["wer"] < 0.5
    layers = sorted(path.name for path in (copied.results / "runs").glob("rbm.*"))
    assert [name.split(".")[1] for name in layers] == ["1", "2"]
    for name in layers:
        assert (copied.results / f"report/runs/{name}/learning_curve.svg").exists()
        assert not (copied.results / f"runs/{name}/decode").exists()
        combined = [row for row in copied.metrics(name) if row["worker"] is None]
        assert combined[-1]["objective_dev"] > combined[0]["objective_dev"]
    summary = (copied.results / "report/summary.txt").read_text()
    assert f"run {layers[0]}: " in summary and "contradicts" not in summary
    again = copied.run(config=[*copied.command()[-1:], mine])
    assert "Nothing to be done" in again.stdout


@pytest.mark.slow
@pytest.mark.mpi
def test_ranks_killed_in_each_layer_end_at_the_bytes_of_virtual_workers(finished, make_workspace, tmp_path):
    """kill -9 of snakemake and two ranks once a layer has a checkpoint; the same command then goes on from there."""
    ends = {}
    for engine in ("virtual", "sync"):
        shutil.copytree(finished.folder, tmp_path / engine, symlinks=True)
        mine = make_workspace(tmp_path / engine)
        files = [*mine.command()[-1:], mine.config("mine.yaml", RANKS.format(engine=engine))]
        for layer in (1, 2) if engine == "sync" else ():
            mine.kill_at(f"runs/rbm.{layer}.*/state/*/ckpt-*", 0.2, "pretrain", config=files)
            assert not list(mine.results.glob(f"runs/rbm.{layer}.*/final.safetensors")), "it was killed too late"
            mine.unlock()
        process = mine.run("pretrain", config=files)
        assert process.returncode == 0, process.stdout[-6000:]
        layers = sorted(path.name for path in (mine.results / "runs").glob("rbm.*"))
        assert [name.split(".")[1] for name in layers] == ["1", "2"]
        found = [f"runs/{name}/final.safetensors" for name in layers]
        ends[engine] = mine.bytes(*found, "runs/main/pretrained.safetensors")
    assert ends["sync"] == ends["virtual"]
