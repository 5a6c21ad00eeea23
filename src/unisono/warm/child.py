"""A forked copy of the warm interpreter: it becomes the process that it stands for, runs the command, and ends."""

import atexit
import contextlib
import io
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn, TextIO

from unisono import command
from unisono.processes import end_with_parent
from unisono.warm import message


def become(streams: list[int], environment: dict[str, str], server: int) -> None:
    """Take over the client's streams and environment; all else that a process inherits is equal already.

    server: its process id; the copy of one that has been killed ends here.
    """
    os.setpgid(0, 0)
    end_with_parent()
    if os.getppid() != server:
        os._exit(1)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (_opened(n, s) for n, s in enumerate((sys.stdin, sys.stdout, sys.stderr)))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # a folder that was asked for under the server's variables
    signal.pthread_sigmask(signal.SIG_UNBLOCK, message.PASSED_ON)


def _opened(number: int, like: TextIO) -> TextIO:
    """Return a stream on a descriptor as the interpreter makes it at its start: some of it depends on what is there."""
    assert isinstance(like, io.TextIOWrapper)
    direct = like.write_through  # PYTHONUNBUFFERED
    binary = open(number, "wb" if number else "rb", buffering=0 if direct and number else -1, closefd=False)
    lines = not direct and (number == 2 or binary.isatty())
    return io.TextIOWrapper(binary, like.encoding, like.errors, "\n", line_buffering=lines, write_through=direct)


def run(arguments: list[str]) -> NoReturn:
    """Run a command and end, as an interpreter does, but for freeing each object of torch: that takes 0.2 s."""
    sys.argv = [str(Path(command.__file__).with_name("__main__.py")), *arguments]
    code = 1
    try:
        code = command.main(arguments)
    except SystemExit as stop:  # argparse, after --help
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as multiprocessing's children do
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
