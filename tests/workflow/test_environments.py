"""Each rule's commands run in a fresh environment of the pins that its rule names, and of nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))
# One small pipeline that has every kind of rule: both GMM stages, all engines that train, perturbed speech.
EVERYTHING = """
speed_perturbation: [0.9]
hmm: {align: lda_mllt}
decode: {systems: [mono, tri]}
runs:
  by_jobs: {}
  by_virtual: {parallel: {engine: virtual}}
  by_sync: {parallel: {engine: sync}}
"""
# `python` and `mpirun` as the jobs find them: those of the environment that the rule of this command names.
PYTHON = """\
#!{python}
import json, os, sys
words = sys.argv[1:]
command = words[words.index("unisono") + 1]
environment = "mpi" if "mpi4py" in words else {homes!r}[command]
with open({log!r}, "a") as log:
    log.write(json.dumps([environment, command]) + "\\n")
program = {folder!r} + "/" + environment + "/bin/python"
os.execv(program, [program, *words])
"""


HEAD = re.compile(r"^ *(?:rule|checkpoint) (\w+):|^ *use rule (\w+) as \w+ with:", re.MULTILINE)


def rules():
    """Yield (environment, command) of each rule of the workflow; a `use rule` has the commands of the rule it names."""
    commands = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        # What stands before the first head, then (name, name used, part) of each.
        pieces = iter(HEAD.split(text)[1:])
        for name, used, part in zip(pieces, pieces, pieces, strict=True):
            if name:
                commands[name] = re.findall(r"-m unisono ([\w-]+)", part)
            environment = re.search(r'^ +conda\s*:\s*"[^"]*/(\w+)\.yaml"', part, flags=re.MULTILINE)
            for command in commands[name or used]:
                yield environment[1], command


def pins(environment):
    dependencies = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())["dependencies"]
    return next(entry["pip"] for entry in dependencies if isinstance(entry, dict))


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """A folder of fresh environments, one for each file of envs/."""
    folder = tmp_path_factory.mktemp("environments")
    for name in ENVIRONMENTS:
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        install = [folder / name / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run([*install, *pins(name)], capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_environment_is_named_by_a_rule():
    assert {environment for environment, _ in rules()} == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_commands_say_their_help(environments, environment):
    for command in sorted({command for home, command in rules() if home == environment}):
        words = [environments / environment / "bin" / "python", "-m", "unisono", command, "--help"]
        env = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0, f"{environment}: {command}: {done.stderr[-2000:]}"


def test_the_small_pipeline_runs_in_the_environments_of_its_rules(environments, workspace, tmp_path, monkeypatch):
    homes = {command: environment for environment, command in rules() if environment != "mpi"}
    log, programs = tmp_path / "called.jsonl", tmp_path / "programs"
    programs.mkdir()
    text = PYTHON.format(python=sys.executable, homes=homes, log=str(log), folder=str(environments))
    (programs / "python").write_text(text)
    (programs / "python").chmod(0o755)
    (programs / "mpirun").symlink_to(environments / "mpi" / "bin" / "mpirun")
    more = workspace.config("everything.yaml", EVERYTHING)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    # With a way of deployment the rules take `python` from PATH; no rule names a module, so this one does nothing.
    way = ["--software-deployment-method", "env-modules"]
    done = workspace.run(*way, timeout=3600, config=[ROOT / "config" / "spoken_small.yaml", more])
    assert done.returncode == 0, done.stdout[-6000:]
    called = {tuple(json.loads(line)) for line in log.read_text().splitlines()}
    # Not in one pipeline: a study, a network of another config that aligns, and what Kaldi made.
    elsewhere = {("base", "study"), ("bootstrap", "adopt-hmm"), ("bootstrap", "align-dnn")}
    elsewhere |= {("bootstrap", "adopt-kaldi"), ("bootstrap", "adopt-kaldi-alignments")}
    assert called == set(rules()) - elsewhere
