"""The command line itself: help, wrong calls, where messages go, threads; on a command made for the test."""

import importlib
import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

from unisono.cli.commands import COMMANDS, module_of

COMMAND = '''
"""A command of the test."""
import argparse, os, sys
from unisono import console
from unisono.errors import UserError


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--do", default="")


def run(args: argparse.Namespace) -> None:
    if args.do == "mistake":
        raise UserError("corpus.tsv: line 3: no transcript: add one")
    if args.do == "defect":
        raise ZeroDivisionError("oh")
    if args.do == "interrupt":
        raise KeyboardInterrupt
    if args.do == "full":
        raise OSError(28, "No space left on device", "x.h5")
    if args.do == "talk":
        print("from python")
        os.write(2, b"from a library\\n")
    if args.do == "letters":
        print("Łódź")
    if args.do == "threads":
        print(os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"])
    if args.do == "many":
        for number in range(100000):
            print(number)
    if args.do == "progress":
        with console.progress("count", 3) as advance:
            for _ in range(3):
                advance()
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory, root):
    """A copy of the package with one more command, `do-it`."""
    folder = tmp_path_factory.mktemp("program")
    subprocess.run(["cp", "-r", root / "src" / "unisono", folder], check=True)
    (folder / "unisono" / "cli" / "do_it.py").write_text(textwrap.dedent(COMMAND))
    with (folder / "unisono" / "cli" / "commands.py").open("a") as table:
        table.write('\n\nCOMMANDS["do-it"] = Command("A command of the test.")\n')

    def call(*arguments, interpreter=(), **keywords):
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        keywords = {"capture_output": True, "text": True, "timeout": 60} | keywords
        command = [sys.executable, *interpreter, "-m", "unisono", *map(str, arguments)]
        return subprocess.run(command, env=environment, **keywords)

    return call


def test_help_lists_every_command(program):
    process = program("--help")
    assert process.returncode == 0
    assert "do-it             A command of the test." in process.stdout
    assert "train-mono" in process.stdout and "console" not in process.stdout


def test_help_names_first_what_a_user_types(program):
    typed, called = program("--help").stdout.split("\nwhat you type")[1].split("\nwhat the workflow calls")
    assert "snakemake --cores" in typed
    user = [
        "corpus", "doctor", "run", "chaos", "status", "log", "list", "clean", "transcribe", "export", "redeal",
        "rate-finder", "compare", "loglikes", "import-model",
    ]  # fmt: skip
    assert re.findall(r"^  (\S+)  ", typed, flags=re.MULTILINE) == user
    stages = re.findall(r"^  (\S+)  ", called, flags=re.MULTILINE)
    assert "do-it" in stages and "train" in stages and not {*user} & {*stages}


def test_help_imports_no_command_and_nothing_heavy(program):
    names = program("--help", interpreter=("-X", "importtime")).stderr
    assert "unisono.console" in names
    assert not re.search(r"unisono\.cli\.(?!commands)\w+|\b(numpy|torch|yaml|h5py)\b", names)


def test_table_and_modules_are_equal(root):
    """Each module of cli/ with a function `register` is a command, and each command has such a module."""
    modules = {path.stem for path in (root / "src/unisono/cli").glob("*.py") if "def register(" in path.read_text()}
    assert {module_of(name) for name in COMMANDS} == {f"unisono.cli.{name}" for name in modules}
    for name, command in COMMANDS.items():
        assert command.does.endswith(".") and "\n" not in command.does, name
        assert callable(importlib.import_module(module_of(name)).run), name


def test_help_of_a_command(program):
    process = program("do-it", "--help")
    assert process.returncode == 0 and "--do" in process.stdout and "--log FILE" in process.stdout


@pytest.mark.parametrize("name", ["nonsense", "console", "../x", "../cli/do-it", "do_it", "do_it.py", "__init__", ""])
def test_unknown_command(program, name):
    process = program(name)
    assert process.returncode == 2 and "Traceback" not in process.stderr
    assert "no such command" in process.stderr


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("transcrib", "did you mean transcribe?"),
        ("train_mono", "did you mean train-mono?"),
        ("qqq", "unisono --help lists them"),
    ],
)
def test_misspelt_command(program, name, remedy):
    assert program(name).stderr == f"unisono: error: {name}: no such command: {remedy}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--do", "mistake"], 2, "unisono do-it: error: corpus.tsv: line 3: no transcript: add one"),
        (["--do", "interrupt"], 130, "unisono do-it: error: interrupted: run the same command again"),
        (["--do", "full"], 2, "unisono do-it: error: x.h5: No space left on device: free space, then start again"),
        (["--wrong"], 2, "unisono do-it: error: unrecognized arguments: --wrong (see --help)"),
        (["--threads", "0"], 2, "unisono do-it: error: --threads: 0: give at least 1"),
    ],
)
def test_mistake_is_one_line(program, arguments, code, line):
    process = program("do-it", *arguments)
    assert (process.returncode, process.stderr) == (code, line + "\n")


def test_defect_keeps_its_traceback(program):
    process = program("do-it", "--do", "defect")
    assert process.returncode == 1
    assert "Traceback" in process.stderr and "ZeroDivisionError: oh" in process.stderr.splitlines()[-1]


def test_log_takes_everything_and_the_terminal_the_mistake(program, tmp_path):
    log = tmp_path / "new" / "x.log"
    process = program("do-it", "--do", "talk", "--log", log)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert sorted(log.read_text().splitlines()) == ["from a library", "from python"]
    process = program("do-it", "--do", "mistake", "--log", log)
    line = "unisono do-it: error: corpus.tsv: line 3: no transcript: add one\n"
    assert (process.returncode, process.stderr, log.read_text()) == (2, line, line)


def test_a_log_that_cannot_be_written_hides_no_mistake(program, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = program("do-it", "--do", "mistake", "--log", "/dev/full")
    assert done.returncode == 2
    assert done.stderr == "unisono do-it: error: corpus.tsv: line 3: no transcript: add one\n"


def test_ranks_share_a_log(program, tmp_path, monkeypatch):
    log = tmp_path / "x.log"
    log.write_text("old\n")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    program("do-it", "--do", "talk", "--log", log)
    assert "old" in log.read_text(), "only rank 0 empties the log"


def test_letters_that_a_terminal_lacks_are_escaped(program, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = program("do-it", "--do", "letters", encoding="latin-1")
    assert done.returncode == 0 and done.stdout == "\\u0141ód\\u017a\n"


def test_threads_are_set_before_the_command_is_imported(program):
    assert program("do-it", "--do", "threads", "--threads", "3").stdout == "3 3\n"
    assert program("do-it", "--do", "threads").stdout == "1 1\n"


def test_a_reader_that_goes_away_is_no_error(program):
    read, write = os.pipe()
    os.close(read)
    process = program("do-it", "--do", "many", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (process.returncode, process.stderr) == (141, "")


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(program, tmp_path):
    log = tmp_path / "x.log"
    program("do-it", "--do", "progress", "--log", log)
    assert log.read_text().endswith("INFO count: 3 of 3\n")
    master, terminal = pty.openpty()
    process = program("do-it", "--do", "progress", "--log", log, capture_output=False, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = os.read(master, 100000).decode()
    os.close(master)
    assert process.returncode == 0 and "count" in shown and log.read_text() == ""
