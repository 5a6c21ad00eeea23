"""The warm interpreter: a process of one thread that has imported torch, and forks itself for each command.

    python -m unisono.warm.server PATH DESCRIPTOR      a socket that listens at PATH, and the descriptor that it is

It computes nothing and touches no GPU, so its copies are what a fresh interpreter would be after the same imports. It
ends at the end of file on its stdin, a pipe that Snakemake holds. `message` says what is said.
"""

import ast
import contextlib
import gc
import importlib
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from unisono import cli, command
from unisono.processes import end_with_parent
from unisono.warm import child, message

# The commands of an iteration: what their modules import when they run is imported once, here.
COMMANDS = ("train_job", "combine", "diagnose", "finish", "init_model")
GRACE_S = 0.5  # from SIGTERM to SIGKILL for a command that nobody waits for any more
REQUEST_TIMEOUT_S = 10.0


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
        signal.pthread_sigmask(signal.SIG_BLOCK, message.PASSED_ON)  # so a copy loses none before it is ready
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
        """Fork for a client; returns the arguments in the copy, None in the server."""
        if not self._open:
            return None
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            arguments, identity, environment, streams = message.receive_request(connection)
        except (OSError, ValueError):
            connection.close()
            return None
        server, pid = os.getpid(), self._fork(arguments, identity)
        if pid == 0:
            self._leave(connection)
            child.become(streams, environment, server)
            return arguments
        for descriptor in streams:
            os.close(descriptor)
        if pid is None:
            connection.close()
        else:
            self._begin(pid, connection)
        return None

    def _fork(self, arguments: list[str], identity: list[str]) -> int | None:
        """Return 0 in a copy and its number in the server; None where the client has to run the command itself."""
        if identity == self._own:
            with contextlib.suppress(OSError):  # too many processes, or too little memory
                return os.fork()
        names = sorted({part.split("=")[0] for part in set(identity) ^ set(self._own)})
        why = f"it differs in {', '.join(names)}" if names else "no process could be started"
        print(f"refused {' '.join(arguments[:1])}: {why}", file=sys.stderr, flush=True)
        return None

    def _begin(self, pid: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the copy does it too; whichever comes first
            os.setpgid(pid, pid)
        job = Job(pid, connection)
        self._jobs.add(job)
        self._selector.register(job.descriptor, selectors.EVENT_READ, lambda: self._reap(job))
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(job))
        message.say(connection, b"%d\n" % pid)

    def _leave(self, connection: socket.socket) -> None:
        """Close in a copy what belongs to the server."""
        self._listener.close()
        connection.close()
        for job in self._jobs:
            job.connection.close()
            os.close(job.descriptor)

    def _hear(self, job: Job) -> None:
        """Pass on a client's signals; where the client has ended, end its command."""
        if job not in self._jobs:
            return  # it has ended in the same moment
        numbers = message.hear(job.connection)
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
        figures = f"{status} {used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss / 1024:.2f}\n"
        message.say(job.connection, figures.encode())
        self._selector.unregister(job.descriptor)
        with contextlib.suppress(KeyError):  # unregistered where the client has ended before
            self._selector.unregister(job.connection)
        job.connection.close()
        os.close(job.descriptor)
        self._jobs.remove(job)


def warm_up() -> None:
    """Import what the commands of an iteration import when they run, in a single thread."""
    for variable in command.THREAD_VARIABLES:
        os.environ[variable] = "1"  # as a library is loaded; a command sets its own number
    for name in COMMANDS:
        tree = ast.parse((Path(cli.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
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


def main() -> int:
    """Serve until the workflow ends, then remove the socket's folder; in a copy, run its command."""
    path, descriptor = sys.argv[1], int(sys.argv[2])
    own = message.identity()
    end_with_parent()  # until it listens to the pipe
    warm_up()
    end_with_parent(0)
    arguments = Server(socket.socket(fileno=descriptor), own).serve()
    if arguments is None:
        shutil.rmtree(Path(path).parent, ignore_errors=True)
        return 0
    child.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
