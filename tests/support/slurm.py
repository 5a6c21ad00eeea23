"""A real SLURM of two nodes on this machine, as a test uses it; `slurm_box.sh` brings it up and takes it down."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("slurm_box.sh")
DAEMONS = ("munged", "slurmctld", "slurmd")
ACCOUNTING = ("slurmdbd", "mariadbd")
# Polls of a test's jobs, which are short.
QUICK = (
    "--slurm-init-seconds-before-status-checks",
    "3",
    "--seconds-between-status-checks",
    "2",
    "--latency-wait",
    "10",
)


def missing(accounting):
    """Return why no SLURM can be brought up here, "" where it can."""
    if os.geteuid() != 0:
        return "no SLURM: not root"
    names = [*DAEMONS, *(ACCOUNTING if accounting else ())]
    absent = [name for name in names if not shutil.which(name, path="/usr/sbin:/usr/bin")]
    return f"no SLURM: {', '.join(absent)} not installed (make debian)" if absent else ""


class Absent(Exception):
    """Why there is no SLURM here."""


class Slurm:
    """The SLURM below a folder, and an environment on top of the tests' own that has the plugin."""

    def __init__(self, folder, accounting=False, venv=None, **variables):
        """Bring it up. venv: an environment that is there already; variables: those of slurm_box.sh."""
        self.folder, self.venv = Path(folder), Path(venv or folder / "venv")
        box = {"BOX_ACCOUNTING": str(int(accounting)), **variables}
        self._box = {**os.environ, **box, "PATH": f"/usr/sbin:{os.environ['PATH']}"}
        made = subprocess.run(
            ["bash", ROOT / "envs/slurm.sh", self.venv, sys.executable], capture_output=True, text=True, timeout=300
        )
        if made.returncode:
            raise Absent("no SLURM: its plugin cannot be installed (pip)")
        self.start()
        self.python = self.venv / "bin/python"
        path = f"{self.folder}/bin:{self.venv}/bin:{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "SLURM_CONF": f"{self.folder}/slurm.conf"}

    def start(self):
        self._script("start")

    def stop(self):
        self._script("stop")

    def _script(self, action):
        done = subprocess.run(
            ["bash", SCRIPT, action, self.folder], env=self._box, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def ask(self, *words, **keywords):
        """Run a command of SLURM or of the environment; return what it printed. It must succeed."""
        done = self.run(*words, **keywords)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def run(self, *words, timeout=300, cwd=None, env=None):
        """Run a command; return the completed process, with all that it printed in `stdout`."""
        return subprocess.run(
            [str(word) for word in words], env={**self.env, **(env or {})}, cwd=cwd, timeout=timeout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def jobs(self, *states):
        """Return {number: name and comment} of the jobs in these states (pending and running)."""
        wanted = ",".join(states or ("PENDING", "RUNNING"))
        lines = self.ask("squeue", "--noheader", f"--states={wanted}", "--format=%i %j %k").splitlines()
        return {int(line.split()[0]): line.split(maxsplit=1)[1] for line in lines}

    def wait_for_job(self, pattern, seconds=120):
        """Return the number of a running job whose name or comment holds the pattern, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while True:
            for number, words in self.jobs("RUNNING").items():
                if re.search(pattern, words):
                    return number
            assert time.monotonic() < deadline, f"no job {pattern}: {self.jobs()}"
            time.sleep(0.2)

    def snakemake(self, workspace, *arguments, configs=(), quick=QUICK):
        """Return the command line of snakemake with the profile of SLURM, in a workspace."""
        files = ["--configfile", *configs] if configs else []
        words = [
            *arguments, "--snakefile", ROOT / "Snakefile", "--directory", workspace.folder,
            "--workflow-profile", ROOT / "profiles/slurm", *quick, *files,
        ]  # fmt: skip
        return [str(self.python), "-m", "snakemake", *map(str, words)]
