"""What is typed: a missing piece is one line with its remedy; CI's last line and exit code are the tests'."""

import hashlib
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def house(root, tmp_path):
    """A folder with only what `make venv` and `.ci/run` read."""
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "envs", tmp_path / "envs")
    shutil.copytree(root / ".ci", tmp_path / ".ci")
    return tmp_path


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(0o755)
    return path


def venv(house, **env):
    result = subprocess.run(
        ["bash", "envs/venv.sh"],
        cwd=house,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **env},
    )
    return result.returncode, [line for line in result.stderr.splitlines() if line]


def finished(house):
    """Mark .venv as complete for the lock as it stands."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", "envs/venv.sh"):
        digest.update((house / name).read_bytes())
    (house / ".venv" / ".complete").write_text(f"{digest.hexdigest()} {(house / '.venv').resolve()}\n")


def test_no_python_is_one_line(house):
    code, lines = venv(house, PYTHON="/nonexistent/python3")
    assert code == 2 and len(lines) == 1 and "install one" in lines[0]
    assert not (house / ".venv").exists()


def test_python_of_another_version_is_refused(house):
    old = script(house / "bin" / "python3", "exit 1\n")  # what our version check answers
    code, lines = venv(house, PYTHON=str(old))
    assert code == 2 and len(lines) == 1


def test_no_venv_module_is_one_line(house):
    bare = script(
        house / "bin" / "python3", f'if [[ "$2" == *ensurepip* ]]; then exit 1; fi\nexec {sys.executable} "$@"\n'
    )
    code, lines = venv(house, PYTHON=str(bare))
    assert code == 2 and len(lines) == 1 and "python3-venv" in lines[0]
    assert not (house / ".venv").exists()


def test_finished_environment_is_left_alone(house):
    script(house / ".venv" / "x", "")
    script(house / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"\n')
    finished(house)
    assert venv(house, PYTHON="/nonexistent/python3") == (0, [])
    with open(house / "requirements.lock", "a") as lock:
        lock.write("another==1.0\n")
    (house / ".venv" / ".unfinished").touch()
    code, _ = venv(house, PYTHON="/nonexistent/python3")
    assert code == 2 and not (house / ".venv").exists()  # interrupted under an old lock: made anew


def test_moved_environment_is_made_anew(house):
    script(house / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"\n')
    finished(house)
    shutil.move(house / ".venv", house / "old")
    (house / "elsewhere").mkdir()
    shutil.move(house / "old", house / "elsewhere" / ".venv")
    for name in ("requirements.lock", "pyproject.toml", "envs"):
        shutil.move(house / name, house / "elsewhere" / name)
    code, lines = venv(house / "elsewhere", PYTHON="/nonexistent/python3")
    assert code == 2 and "moved" in lines[0] and not (house / "elsewhere" / ".venv").exists()


def test_failed_install_is_said_and_not_taken_as_finished(house):
    script(
        house / ".venv" / "bin" / "python",
        'if [ "$1" = -m ]; then echo "ERROR: no network" >&2; exit 1; fi\n' + f'exec {sys.executable} "$@"\n',
    )
    code, lines = venv(house)
    assert code == 2 and "ERROR: no network" in lines and lines[-1].startswith("make venv: pip failed")
    assert not (house / ".venv" / ".complete").exists() and (house / ".venv" / ".unfinished").exists()


def test_its_last_line_says_how_to_go_on(house):
    script(house / ".venv" / "bin" / "python", f'if [ "$1" = -m ]; then exit 0; fi\nexec {sys.executable} "$@"\n')
    code, lines = venv(house)
    assert code == 0 and lines[-1] == "make venv: done; next: source .venv/bin/activate"
    assert venv(house) == (0, []), "nothing was to do"


def ci(house, lint, test):
    script(
        house / "bin" / "make",
        'echo "$*" >>called\n'
        f'case "$*" in *debian) exit 2;; *lint*) {lint};; *) echo "CORPORA_DIR=$CORPORA_DIR"; {test};; esac\n',
    )
    result = subprocess.run(
        ["bash", ".ci/run"], cwd=house, capture_output=True, text=True, env={"PATH": f"{house}/bin:/usr/bin:/bin"}
    )
    return result.returncode, result.stdout.splitlines()


CLOSING = "=========== 12 passed, 3 skipped in 75.10s (0:01:15) ==========="


@pytest.mark.parametrize(
    ("lint", "test", "good", "last"),
    [
        ("exit 0", f"echo '{CLOSING}'; exit 0", True, CLOSING),
        ("exit 2", f"echo '{CLOSING}'; exit 0", False, CLOSING),
        ("exit 0", "echo '== 1 failed, 2 passed in 1.00s =='; exit 2", False, "== 1 failed, 2 passed in 1.00s =="),
        ("exit 0", "echo '== no tests ran in 0.01s =='; exit 0", False, "== no tests ran in 0.01s =="),
        ("exit 0", "exit 0", False, "make test ended without pytest's closing line"),
    ],
)
def test_ci_ends_with_the_closing_line(house, lint, test, good, last):
    code, lines = ci(house, lint, test)
    assert (code == 0) == good and lines[-1] == last
    assert "CORPORA_DIR=corpora" in lines
    called = [line.removeprefix("--no-print-directory ") for line in (house / "called").read_text().splitlines()]
    assert called[:2] == ["debian", "lint"] and called[2].startswith("test ") and len(called) == 3


@pytest.mark.parametrize(
    ("user", "apt", "said"),
    [(0, None, "no apt-get: install"), (1000, "exit 0", "not root: sudo apt-get install"),
     (0, "echo 'E: no network' >&2; exit 100", "apt-get could not install")],
)  # fmt: skip
def test_debian_says_what_it_could_not_install(root, tmp_path, user, apt, said):
    """Where a tool is missing and cannot be had, one line with its name and exit code 2."""
    bin_dir = tmp_path / "bin"
    script(bin_dir / "id", f"echo {user}\n")
    if apt:
        script(bin_dir / "apt-get", f"{apt}\n")
    for tool in ("bash", "env", "mktemp", "rm", "tail", "timeout"):
        (bin_dir / tool).symlink_to(shutil.which(tool))
    command = [shutil.which("bash"), root / "tests" / "setup_debian.sh"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(bin_dir)}, timeout=60)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and lines[-1].startswith(f"make debian: {said}") and "irstlm" in lines[-1]
    assert len(lines) == (2 if "network" in (apt or "") else 1)


def test_only_debian_touches_the_system(root):
    """`make test` installs nothing outside the folder."""
    rules = (root / "Makefile").read_text()
    assert [line for line in rules.splitlines() if "debian" in line and ":" in line and "PHONY" not in line] == [
        "debian: ## Debian tools that some tests compare with (as root)"
    ]


def test_ci_takes_the_shared_corpora(house, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    (above / "shared" / "corpora").mkdir(parents=True)
    shutil.move(house, above / "main")
    _, lines = ci(above / "main", "exit 0", "true")
    assert f"CORPORA_DIR={above}/shared/corpora" in lines
