"""One finished pipeline on config/spoken_small.yaml, and a way to call snakemake in a folder of the test's own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = ROOT / "config" / "spoken_small.yaml"
RESULTS = Path("results", "spoken_small")


class Workspace:
    """A working directory for snakemake, as a user has one."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.results = self.folder / RESULTS

    def command(self, *arguments, config=SMALL, cores=2):
        """Return the command line; `config` is one file or several, None for the workflow's own."""
        files = [] if config is None else ["--configfile", *(config if isinstance(config, list) else [config])]
        words = [*arguments, "--snakefile", ROOT / "Snakefile", "--directory", self.folder, "--cores", cores, *files]
        return [sys.executable, "-m", "snakemake", *map(str, words)]

    def run(self, *arguments, timeout=900, **keywords):
        """Run snakemake and return the completed process, with all that it printed in `stdout`."""
        command = self.command(*arguments, **keywords)
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, cwd=self.folder
        )

    def kill_at(self, pattern, delay, *arguments, said="", **keywords):
        """Start snakemake and kill -9 it and its children once a result of this pattern is `delay` seconds old.

        said: what it must have printed, too; "Finished" comes when it has noted that a job is done.
        """
        log = self.folder / "killed.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                self.command(*arguments, **keywords), stdout=output, stderr=output, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
            deadline = time.monotonic() + 240
            while next(self.results.glob(pattern), None) is None or said not in log.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def unlock(self):
        """Take the lock away that a killed snakemake leaves behind."""
        assert self.run("--unlock").returncode == 0

    def config(self, name, text):
        """Write a config file and return its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def bytes(self, *names):
        """Return the content of result files."""
        return {name: (self.results / name).read_bytes() for name in names}

    def metrics(self, run="main"):
        """Return the lines of a run's metrics.jsonl without times."""
        rows = map(json.loads, (self.results / "runs" / run / "metrics.jsonl").read_text().splitlines())
        return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


@pytest.fixture(scope="session")
def make_workspace():
    """What makes a workspace in a folder."""
    return Workspace


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace."""
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workspace of a finished run of config/spoken_small.yaml with --cores 2. Tests must leave it as it is."""
    done = Workspace(tmp_path_factory.mktemp("finished"))
    process = done.run()
    assert process.returncode == 0, process.stdout[-6000:]
    done.output = process.stdout
    return done


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workspace , free to be changed."""
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-a", finished.folder, folder], check=True)
    return Workspace(folder)


@pytest.fixture(autouse=True)
def _no_slurm(monkeypatch):
    monkeypatch.setenv("SLURM_CONF", os.devnull)
