"""A killed run and another number of workers: refused by name, then dealt anew by a command."""

import json
import os
import signal
import subprocess
import sys
import time

RUN = "results/spoken_small/runs/again"


def settings(copied, workers):
    """The finished pipeline's config with a run more, which leaves a checkpoint after each of many iterations."""
    mine = copied.config(
        "mine.yaml",
        f"""
runs:
  main: {{}}
  again:
    parallel: {{engine: virtual, workers: {workers}, period_frames: 500, iterations_per_job: 500}}
resources: {{checkpoint_s: 0}}
""",
    )
    return [*copied.command()[-1:], mine]


def kill_after_iterations(copied, config):
    """Start training, and kill -9 all of it once two checkpoints are there."""
    command = copied.command(f"{RUN}/final.safetensors", config=config)
    with open(copied.folder / "killed.log", "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=copied.folder, start_new_session=True)
        deadline = time.monotonic() + 120
        while len(list((copied.folder / RUN).glob("state/*/ckpt-*"))) < 2:
            assert process.poll() is None and time.monotonic() < deadline, (copied.folder / "killed.log").read_text()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert copied.run("--unlock", config=config).returncode == 0
    assert not (copied.folder / RUN / "final.safetensors").exists(), "it was killed too late"


def test_a_killed_run_goes_on_with_more_workers_by_a_command(finished, copied):
    kill_after_iterations(copied, settings(copied, 2))
    targets = [f"{RUN}/final.safetensors", f"{RUN}/metrics.jsonl"]
    refused = copied.run(*targets, config=settings(copied, 3))
    (line,) = {line.strip() for line in refused.stdout.splitlines() if "parallel.workers: 3, but" in line}
    assert refused.returncode == 1 and "unfinished run of 2 workers" in line
    redeal = line.split("`")[1]  # as the message says
    assert redeal.startswith("unisono redeal ") and redeal.endswith(" --workers 3")
    command = [sys.executable, "-m", *redeal.split()]
    assert subprocess.run(command, cwd=copied.folder).returncode == 0
    other = copied.run(*targets, config=settings(copied, 4))
    assert other.returncode == 1 and "parallel.workers: 4, but" in other.stdout and "set it to 3" in other.stdout
    process = copied.run(*targets, config=settings(copied, 3))
    assert process.returncode == 0, process.stdout[-6000:]
    folder = copied.folder / RUN
    (change,) = json.loads((folder / "final.json").read_text())["redealt"]
    assert change["from"] == 2 and change["to"] == 3 and change["iteration"] >= 1
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    joined = {row["iteration"] for row in rows if row["worker"] == 2}
    assert joined == set(range(change["iteration"], rows[-1]["iteration"] + 1)) != set()
    ledger = json.loads((folder / "ledger.json").read_text())
    counts = ledger["workers"].values()
    assert sum(c["seen"] + c["discarded"] for c in counts) == ledger["corpus_frames"] * ledger["epochs"]
    assert ledger["epochs"] == 2 and all(c["dropped"] == 0 == c["repeated"] for c in counts)
    again = copied.run("--dry-run", *targets, config=settings(copied, 3))
    assert "Nothing to be done" in again.stdout, again.stdout[-2000:]
    assert copied.bytes("runs/main/final.safetensors") == finished.bytes("runs/main/final.safetensors")
