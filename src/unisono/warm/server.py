"""The warm interpreter: a process of one thread that has imported torch, and forks itself for each command.

    python -m unisono.warm.server PATH DESCRIPTOR      a socket that listens at PATH, and the descriptor that it is

It computes nothing and touches no GPU, so its copies are what a fresh interpreter would be after the same imports. It
ends at the end of file on its stdin, a pipe that Snakemake holds. See `unisono.warm.client` for what is said.
"""

import ast
import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn, TextIO

from unisono import command
from unisono.warm import client

# The commands of an iteration: what their modules import when they run is imported once, here.
COMMANDS = ("train_job", "combine", "diagnose", "finish", "init_model")
GRACE_S = 1.0  # from SIGTERM to SIGKILL for a command that nobody waits for any more
REQUEST_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1


class Job:
    """A command at work: the leader of its own process group, and the client that waits for it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.descriptor, self.connection = pid, os.pidfd_open(pid), connection
        self.deadline: float | None = None

    def signal(self, number: int) -> None:
        """Send a signal as a terminal or another process would: to all of the group, or to its leader alone."""
        whole = number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT)
        target = -self.pid if whole else self.pid
        os.kill(target, signal.SIGSTOP if number == signal.SIGTSTP else number)

    def end(self) -> None:
        """Ask the whole group to end; `kill` follows."""
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_S
            os.killpg(self.pid, signal.SIGTERM)
            os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the group at once. Its leader has not been waited for, so its number is no other process's."""
        os.killpg(self.pid, signal.SIGKILL)


class Server:
    """Answers clients until the workflow ends."""

    def __init__(self, listener: socket.socket, own: list[str]) -> None:
        self._listener, self._own = listener, own
        self._jobs: set[Job] = set()
        self._selector = selectors.PollSelector()  # no descriptor of its own, which children would share
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._close)
        self._open = True

    def serve(self) -> list[str] | None:
        """Return the arguments of a command in the copy that is to run it, None in the server at its end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, client.PASSED_ON)  # so a copy loses none before it is ready
        while self._open or self._jobs:
            for key, _ in self._selector.select(self._patience()):
                arguments = key.data()
                if arguments is not None:
                    return arguments
            for job in self._jobs:
                if job.deadline is not None and job.deadline <= time.monotonic():
                    job.kill()
                    job.deadline += GRACE_S
        return None

    def _patience(self) -> float | None:
        deadlines = [job.deadline for job in self._jobs if job.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _close(self) -> None:
        """Snakemake has ended: take no more commands, end those at work."""
        self._selector.unregister(sys.stdin)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._open = False
        for job in self._jobs:
            job.end()

    def _accept(self) -> list[str] | None:
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            arguments, identity, environment, streams = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return None
        server, pid = os.getpid(), os.fork() if identity == self._own else None
        if pid == 0:
            self._leave(connection)
            if os.getppid() != server:  # killed before it could be tied to us
                os._exit(1)
            _become(streams, environment)
            return arguments
        for descriptor in streams:
            os.close(descriptor)
        if pid is None:
            connection.close()
            names = sorted({field.split("=")[0] for field in set(identity) ^ set(self._own)})
            print(f"refused {' '.join(arguments[:1])}: it differs in {', '.join(names)}", file=sys.stderr, flush=True)
        else:
            self._begin(pid, connection)
        return None

    def _begin(self, pid: int, connection: socket.socket) -> None:
        os.setpgid(pid, pid)
        job = Job(pid, connection)
        self._jobs.add(job)
        self._selector.register(job.descriptor, selectors.EVENT_READ, lambda: self._reap(job))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(job))
        _say(connection, f"{pid}\n")

    def _leave(self, connection: socket.socket) -> None:
        """Close in a copy what belongs to the server."""
        os.setpgid(0, 0)
        die_with_parent()
        self._listener.close()
        connection.close()
        for job in self._jobs:
            job.connection.close()
            os.close(job.descriptor)

    def _hear(self, job: Job) -> None:
        """Pass on a client's signals; where the client has ended, end its command."""
        if job not in self._jobs:
            return  # it has ended in the same moment
        try:
            numbers = job.connection.recv(64)
        except OSError:
            numbers = b""
        for number in numbers:
            job.signal(number)
        if not numbers:
            self._selector.unregister(job.connection)
            job.end()

    def _reap(self, job: Job) -> None:
        """Tell the client how its command ended."""
        if job.deadline is not None:
            job.kill()  # what it has started itself
        _, status, used = os.wait4(job.pid, 0)
        _say(job.connection, f"{status} {used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss / 1024:.2f}\n")
        self._selector.unregister(job.descriptor)
        with contextlib.suppress(KeyError):  # unregistered where the client has ended before
            self._selector.unregister(job.connection)
        job.connection.close()
        os.close(job.descriptor)
        self._jobs.remove(job)


def _say(connection: socket.socket, words: str) -> None:
    with contextlib.suppress(OSError):  # a client that has ended is noticed when it is next listened to
        connection.sendall(words.encode())


def _receive(connection: socket.socket) -> tuple[list[str], list[str], dict[str, str], list[int]]:
    """Return a request's arguments, identity and environment, and the client's three streams."""
    data, streams, _, _ = socket.recv_fds(connection, 65536, 3)
    try:
        while len(data) < 8 or len(data) < 8 + int.from_bytes(data[:8], "big"):
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("the client has ended")
            data += more
        count, *rest = client.fields(data[8 : 8 + int.from_bytes(data[:8], "big")])
        arguments, (size, *rest) = rest[: int(count)], rest[int(count) :]
        identity, variables = rest[: int(size)], rest[int(size) :]
        if len(streams) != 3:
            raise ValueError("three descriptors are expected")
        return arguments, identity, dict(variable.split("=", 1) for variable in variables), list(streams)
    except BaseException:
        for descriptor in streams:
            os.close(descriptor)
        raise


def _become(streams: list[int], environment: dict[str, str]) -> None:
    """Take over the client's streams and environment; all else that a process inherits is equal already."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (_opened(n, s) for n, s in enumerate((sys.stdin, sys.stdout, sys.stderr)))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # a folder that was asked for under the server's variables
    signal.pthread_sigmask(signal.SIG_UNBLOCK, client.PASSED_ON)


def _opened(number: int, like: TextIO) -> TextIO:
    """Return a stream on a descriptor as the interpreter makes it at its start: some of it depends on what is there."""
    assert isinstance(like, io.TextIOWrapper)
    direct = like.write_through  # PYTHONUNBUFFERED
    binary = open(number, "wb" if number else "rb", buffering=0 if direct and number else -1, closefd=False)
    lines = not direct and (number == 2 or binary.isatty())
    return io.TextIOWrapper(binary, like.encoding, like.errors, "\n", line_buffering=lines, write_through=direct)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when its parent ends; 0: not any more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def warm_up() -> None:
    """Import what the commands of an iteration import when they run, in a single thread."""
    for variable in command.THREAD_VARIABLES:
        os.environ[variable] = "1"  # as a library is loaded; a command sets its own number
    for name in COMMANDS:
        tree = ast.parse((command.COMMANDS / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):  # `from package import module`
                        importlib.import_module(f"{node.module}.{alias.name}")
    gc.collect()
    gc.freeze()  # so that no collection in a copy touches, and thereby doubles, the pages that all share


def run(arguments: list[str]) -> NoReturn:
    """Run a command and end, as an interpreter does, but for freeing each object of torch: that takes 0.2 s."""
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


def main() -> int:
    """Serve until the workflow ends, then remove the socket's folder; in a copy, run its command."""
    path, descriptor = sys.argv[1], int(sys.argv[2])
    own = client.identity()
    die_with_parent()  # until it listens to the pipe
    warm_up()
    die_with_parent(0)
    arguments = Server(socket.socket(fileno=descriptor), own).serve()
    if arguments is None:
        shutil.rmtree(Path(path).parent, ignore_errors=True)
        return 0
    sys.argv = [str(Path(command.__file__).with_name("__main__.py")), *arguments]
    run(arguments)


if __name__ == "__main__":
    sys.exit(main())
