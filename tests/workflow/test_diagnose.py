"""Models are looked at beside training under `jobs`: nothing is lost, and nothing is trained twice for it."""

RUNS = "results/spoken_small/runs"
FINALS = [f"{RUNS}/{name}/final.safetensors" for name in ("jobs", "older", "virtual")]
SETTINGS = """
runs:
  main: {}
  jobs: {parallel: {period_frames: 5000}}
  older: {parallel: {period_frames: 5000}}
  virtual: {parallel: {engine: virtual, period_frames: 5000, iterations_per_job: 100}}
"""


def test_every_model_is_looked_at_once_whoever_began(copied):
    """A run that stopped before anyone looked, one by a version that looked in the combination, one in one process."""
    config = [*copied.command()[-1:], copied.config("mine.yaml", SETTINGS)]

    def succeed(*arguments):
        process = copied.run(*arguments, config=config)
        assert process.returncode == 0, process.stdout[-6000:]
        return process.stdout

    succeed(f"{RUNS}/jobs/iterations/1.state.json", "--notemp")
    succeed(f"{RUNS}/older/iterations/1.state.json", "--notemp", "--set-resources", "combine:diagnostics=now")
    output = succeed(*FINALS)
    begun = {line.split(": Run ", 1)[1] for line in output.splitlines() if ": Run " in line}
    assert {"jobs: iteration 2, worker 0", "older: iteration 2, worker 1", "jobs: look at iteration 1"} <= begun
    assert not {f"{name}: iteration 1, worker {job}" for name in ("jobs", "older") for job in (0, 1)} & begun
    assert not {f"older: look at iteration {number}" for number in (0, 1)} & begun
    found = copied.metrics("jobs")
    assert found[-1]["iteration"] > 4  # so that the first look is waited for
    assert found == copied.metrics("older") == copied.metrics("virtual")
    assert all(row["objective_dev"] is not None for row in found if row["worker"] is None)
    assert "Nothing to be done" in succeed("--dry-run", *FINALS)

    # Trained anew the older run is like any other: its states are not taken for the new ones.
    (copied.folder / "mine.yaml").write_text(SETTINGS + "\noptimiser: {learning_rate: 0.0021}\n")
    output = succeed(FINALS[1])
    assert "Run older: look at iteration 0\n" in output
    assert all(row["objective_dev"] is not None for row in copied.metrics("older") if row["worker"] is None)
    assert copied.metrics("older") != found
