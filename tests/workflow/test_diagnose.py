"""The config alone says who evaluates the models; another engine over a finished run trains nothing."""

RUNS = "results/spoken_small/runs"
NAMES = ("jobs", "newbob", "virtual")
TARGETS = [f"{RUNS}/{name}/{file}" for name in NAMES for file in ("final.safetensors", "metrics.jsonl")]
SETTINGS = """
runs:
  main: {{}}
  jobs: {{parallel: {{engine: {jobs}, period_frames: 5000}}}}
  newbob: {{parallel: {{engine: {jobs}, period_frames: 5000}}, schedule: {{kind: newbob, epochs: 2}}}}
  virtual: {{parallel: {{engine: {virtual}, period_frames: 5000, iterations_per_job: 100}}}}
"""


def test_every_model_is_evaluated_once_and_another_engine_trains_nothing(copied):
    def succeed(*arguments, jobs="jobs", virtual="virtual"):
        mine = copied.config("mine.yaml", SETTINGS.format(jobs=jobs, virtual=virtual))
        process = copied.run(*arguments, config=[*copied.command()[-1:], mine])
        assert process.returncode == 0, process.stdout[-6000:]
        return process.stdout

    succeed(f"{RUNS}/jobs/iterations/1.state.json", "--notemp")
    output = succeed(*TARGETS)
    begun = {line.split(": Run ", 1)[1] for line in output.splitlines() if ": Run " in line}
    assert {"jobs: iteration 2, worker 0", "jobs: evaluate iteration 1"} <= begun
    assert not {"jobs: iteration 1, worker 0", "jobs: iteration 1, worker 1"} & begun
    assert not any(line.startswith(("newbob: evaluate", "virtual: evaluate")) for line in begun)
    found = copied.metrics("jobs")
    assert found[-1]["iteration"] > 4  # so that the first evaluation is waited for
    assert found == copied.metrics("virtual")
    for name in NAMES:
        assert all(row["objective_dev"] is not None for row in copied.metrics(name) if row["worker"] is None)
    assert "Nothing to be done" in succeed("--dry-run", *TARGETS)
    switched = succeed("--dry-run", *TARGETS, jobs="virtual", virtual="jobs")
    assert not [line for line in switched.splitlines() if "iteration" in line and ": Run " in line], switched[-3000:]
    assert "Nothing to be done" in switched, switched[-3000:]
