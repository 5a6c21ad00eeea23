"""The subcommands of `unisono`, one per stage (`cli/commands.py`); a module is imported only when it is chosen.

A mistake of the user ends as the one line `unisono <command>: error: ...` and exit code 2; a defect of ours keeps its
traceback and ends with 1. With `--log FILE` everything that the command and its libraries print goes to that file, and
such a line also to the terminal, so that it is seen where nobody opens the log.
"""

import argparse
import difflib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from unisono import __version__, console, usage
from unisono.cli.commands import COMMANDS, module_of
from unisono.errors import MACHINE, UserError

# Numeric libraries read these once, when they are first imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
TOP = """what you type (on a cluster, in place of run: snakemake --cores N --configfile mine.yaml, docs/slurm.md):
{typed}

what the workflow calls, and config-reference, which makes a page of the docs:
{called}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 a defect, 2 a user's mistake, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0].startswith("-"):
        return _top(arguments)
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        remedy = f"did you mean {near[0]}?" if near else "unisono --help lists them"
        print(f"unisono: error: {name}: no such command: {remedy}", file=sys.stderr)
        return 2
    try:
        code = _run(name, rest)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`| head`) has gone: say nothing, and keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _top(arguments: list[str]) -> int:
    lines = {name: f"  {name:<18}{command.does}" for name, command in COMMANDS.items()}
    parser = argparse.ArgumentParser(
        prog="unisono",
        description="Parallel training of speech acoustic models.",
        epilog=TOP.format(
            typed="\n".join(lines[name] for name, command in COMMANDS.items() if command.typed),
            called="\n".join(lines[name] for name, command in COMMANDS.items() if not command.typed),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"unisono {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below; COMMAND --help says more")
    parser.parse_args(arguments)
    parser.print_help()
    return 2


def _run(name: str, arguments: list[str]) -> int:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--log", metavar="FILE", help="send all messages to this file")
    common.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the numeric libraries (1)")
    early, _ = common.parse_known_args(arguments)
    if early.threads < 1:
        print(f"unisono {name}: error: --threads: {early.threads}: give at least 1", file=sys.stderr)
        return 2
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(early.threads)
    if torch := sys.modules.get("torch"):  # in a warm interpreter the variables come too late
        torch.set_num_threads(early.threads)
    if early.log:
        usage.forget(early.log)
        console.redirect(Path(early.log))
    console.start_logging()
    logging.getLogger("unisono").debug("command: unisono %s %s", name, " ".join(arguments))
    try:
        module = importlib.import_module(module_of(name))
        parser = _Parser(
            prog=f"unisono {name}", description=module.__doc__, parents=[common], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.register(parser)
        return module.run(parser.parse_intermixed_args(arguments)) or 0
    except UserError as error:
        return _fail(name, str(error), 2)
    except KeyboardInterrupt:
        return _fail(name, "interrupted: run the same command again", 130)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _fail(name, "out of memory: use fewer --processes, or a machine with more", 2)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE:
            return _fail(name, f"{error.filename or 'a file'}: {error.strerror}: {MACHINE[error.errno]}", 2)
        traceback.print_exc()
        return _fail(name, f"{type(error).__name__}: {error} (a defect of unisono: its traceback is above)", 1)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Treat a wrong flag like any other mistake of the user: one line, in the log and on the terminal."""
        raise UserError(f"{message} (see --help)")


def _fail(name: str, message: str, code: int) -> int:
    line = f"unisono {name}: error: " + " ".join(message.split())
    console.report_error(line)
    return code
