"""docs/slurm.md as a new user types it, on a SLURM of two nodes: each way works at once, to the local run's bytes."""

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.support.slurm import QUICK

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/slurm.md"
CLONE = ("src", "workflow", "config", "profiles", "envs")
NOT_TYPED = {
    "make venv": "the environment is there",
    "snakemake --workflow-profile profiles/slurm --configfile mine.yaml": "typed by the job that is the head",
}
SETTLED = "word error"


def blocks():
    """Return {heading: the commands below it}."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        name: re.findall(r"^    (\S.*)$", text, re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_page_is_short_and_its_commands_are_known():
    assert len(PAGE.read_text().split()) <= 900
    assert [len(commands) for commands in blocks().values()] == [3, 1, 5, 0, 0, 2, 2, 0], blocks()
    typed = [command for commands in blocks().values() for command in commands]
    assert set(NOT_TYPED) <= set(typed)


class User:
    """Somebody in a fresh clone."""

    def __init__(self, slurm, folder):
        self.slurm, self.folder = slurm, folder
        folder.mkdir()
        for name in CLONE:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Snakefile", "pyproject.toml", "requirements.lock", "requirements-slurm.lock"):
            shutil.copy(ROOT / name, folder)
        (folder / ".venv").symlink_to(slurm.venv)

    def types(self, command, timeout=600):
        """Return what a command prints, in the activated environment."""
        script = f"source .venv/bin/activate; {command}"
        done = self.slurm.run(
            "bash", "-c", script, cwd=self.folder, env={"PYTHONPATH": f"{self.folder}/src"}, timeout=timeout
        )
        assert done.returncode == 0, (command, done.stdout[-4000:])
        return done.stdout

    def submits(self, command, timeout=600):
        """Return the output of a job when it has ended."""
        said = self.slurm.ask(
            "bash", "-c", f"source .venv/bin/activate; {command}", cwd=self.folder,
            env={"PYTHONPATH": f"{self.folder}/src"},
        )  # fmt: skip
        number = int(re.search(r"Submitted batch job (\d+)", said)[1])
        deadline = time.monotonic() + timeout
        while number in self.slurm.jobs():
            assert time.monotonic() < deadline, f"job {number} has not ended"
            time.sleep(1)
        return next(self.folder.glob(f"*-{number}.log")).read_text()

    def config(self, text):
        small = (ROOT / "config/spoken_small.yaml").read_text().replace("name: spoken_small", "name: mine")
        (self.folder / "mine.yaml").write_text(small + text)

    def final(self, run):
        return (self.folder / f"results/mine/runs/{run}/final.safetensors").read_bytes()


@pytest.fixture(scope="module")
def user(slurm, tmp_path_factory):
    return User(slurm, tmp_path_factory.mktemp("user") / "unisono")


RUNS = """
runs:
  main: {}
  four: {parallel: {workers: 4}}
  virtual: {parallel: {workers: 4, engine: virtual}}
  sync: {parallel: {workers: 4, engine: sync}}
"""


@pytest.mark.slurm
@pytest.mark.slow
def test_one_allocation(user, finished):
    """Sections 1 and 2 of the page."""
    user.config("")
    first, second = list(blocks().values())[:2]
    for command in first:
        if command not in NOT_TYPED:
            said = user.types(command)
    assert "SLURM would take" in said
    log = user.submits(second[0])
    assert SETTLED in log.lower(), log[-3000:]
    assert user.final("main") == (finished.results / "runs/main/final.safetensors").read_bytes()


@pytest.mark.slurm
@pytest.mark.slow
def test_many_jobs(user, copied, finished):
    """All engines over two nodes by the plugin, its head a job; the rest of the page."""
    user.config(RUNS)
    profile = user.folder / "profiles/slurm/profile.yaml"
    text = profile.read_text().replace('mpi: "mpirun"', 'mpi: "mpirun"\n    nodes: 2')
    profile.write_text(re.sub(r"^#  slurm_partition:.*", '  slurm_partition: "main"', text, flags=re.MULTILINE))
    quick = " ".join(QUICK)
    for heading in ("Many jobs", "Watching", "After a crash"):
        for command in blocks()[heading]:
            if command in NOT_TYPED:
                continue
            if command.startswith("sbatch"):
                log = user.submits(command.replace("profiles/slurm ", f"profiles/slurm {quick} "), timeout=1500)
                assert SETTLED in log.lower(), log[-6000:]
            else:
                user.types(command)
    mine = copied.config("mine.yaml", "runs:\n  four: {parallel: {workers: 4, engine: virtual}}\n")
    local = "results/spoken_small/runs/four/final.safetensors"
    process = copied.run(local, config=[*finished.command()[-1:], mine])
    assert process.returncode == 0, process.stdout[-3000:]
    wanted = (copied.folder / local).read_bytes()
    assert {run: user.final(run) == wanted for run in ("four", "virtual", "sync")} == dict.fromkeys(
        ("four", "virtual", "sync"), True
    )
    log = next((user.folder / "results/mine/logs/train/sync").glob("block.*.log")).read_text()
    nodes = dict(re.findall(r"rank (\d) of 4 on (n\d)", log))
    assert len(nodes) == 4 and set(nodes.values()) == {"n1", "n2"}, log
