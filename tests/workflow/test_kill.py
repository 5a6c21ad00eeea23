"""kill -9 of snakemake and its children in any stage; unlock, as the message says, and go on to the same bytes."""

# A log appears when a job of the stage begins; the job is killed so many seconds later.
STAGES = [
    ("data", "logs/corpus/corpus.log", 0.5),
    ("features", "logs/features/net/train.0.log", 0.3),
    ("hmm", "logs/hmm/mono.log", 1.5),
    ("train", "logs/train/main/1.0.log", 0.0),
    ("diagnose", "logs/train/main/1.diagnose.log", 0.3),
    ("combine", "logs/train/main/2.combine.log", 0.5),
    ("decode", "logs/decode/main.last.tune.log", 1.0),
]
SAME = ("hmm/tri/ali.train.h5", "runs/main/final.safetensors", "runs/main/hyp.txt", "gmm/tri/hyp.txt")


def test_killed_in_every_stage(finished, workspace):
    for stage, log, delay in STAGES:
        workspace.kill_at(log, delay)
        if stage == "data":
            locked = workspace.run()
            assert locked.returncode == 1 and "--unlock" in locked.stdout, "the message names the remedy"
        workspace.unlock()
        assert not (workspace.results / "report/summary.txt").exists(), f"{stage}: it was killed too late"
    process = workspace.run()
    assert process.returncode == 0, process.stdout[-6000:]
    assert workspace.metrics() == finished.metrics(), "a look at a model was lost"
    for name in SAME:
        assert workspace.bytes(name) == finished.bytes(name), name
