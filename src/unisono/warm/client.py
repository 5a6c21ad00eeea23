"""Hand a command to the warm interpreter, wait for it, and end as it ended.

Standard library only, and little of it: every job of a local workflow starts here. `message` says what is said.
"""

import contextlib
import os
import select
import signal
import socket
import sys
from typing import Any

from unisono.warm.message import PASSED_ON, VARIABLE, hear, say, send_request


def run(arguments: list[str]) -> int | None:
    """Return the exit code of a command that the warm interpreter ran; None where this process has to run it.

    That is where there is no server, or where a fork of it would not be what this process is. A command that was ended
    by a signal ends this process by the same one.
    """
    path = os.environ.get(VARIABLE)
    if not path or sys.orig_argv[1:3] != ["-m", "unisono"]:
        return None
    signals, handlers = _catch_signals()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            send_request(connection, arguments)
            ended = _wait(connection, signals)
    except OSError:  # it has gone, or one of our three streams is closed
        return None
    finally:
        _release_signals(signals, handlers)
    return None if ended is None else _end(arguments, *ended)


def _catch_signals() -> tuple[int, dict[int, Any]]:
    """Return a descriptor that the numbers of signals come from, and what was done about them before.

    What is ignored stays so: the server has inherited the same.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    caught = [number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN]
    return reading, {number: signal.signal(number, lambda *_: None) for number in caught}


def _release_signals(reading: int, handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.close(signal.set_wakeup_fd(-1))
    os.close(reading)


def _wait(connection: socket.socket, signals: int) -> tuple[int, float, float] | None:
    """Return wait status, CPU seconds and peak memory of the served command; None where it was refused.

    The job ends with whoever waits for it: where the shell that called us has gone, so has its command.
    """
    parent = os.pidfd_open(os.getppid())
    watched = select.poll()
    for descriptor in (connection.fileno(), signals, parent):
        watched.register(descriptor, select.POLLIN)
    heard, child = b"", 0
    while True:
        ready = {descriptor for descriptor, _ in watched.poll()}
        if parent in ready:
            os._exit(1)
        if signals in ready:
            _pass_on(os.read(signals, 64), connection, child)
        if connection.fileno() in ready:
            said = hear(connection)
            heard += said
            if not said:
                os.close(parent)
                return _left_alone(child) if child else None
            first, *rest = heard.split(b"\n")
            child = int(first)
            if len(rest) > 1:
                status, cpu, memory = rest[0].split()
                return int(status), float(cpu), float(memory)


def _pass_on(numbers: bytes, connection: socket.socket, child: int) -> None:
    """Hand signals to the command; before it runs they do what they always do. A stop stops this process too."""
    for number in numbers:
        if not child and number not in (signal.SIGTSTP, signal.SIGCONT):
            _die(number)
        say(connection, bytes([number]))
        if number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)


def _left_alone(child: int) -> tuple[int, float, float]:
    """Return what becomes of a command whose server was killed: the kernel has killed it; its own children follow."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return signal.SIGKILL, 0.0, 0.0


def _end(arguments: list[str], status: int, cpu_seconds: float, peak_mb: float) -> int:
    from unisono import usage

    if "--log" in arguments[:-1]:
        usage.write(arguments[arguments.index("--log") + 1], cpu_seconds, peak_mb)
    if os.WIFSIGNALED(status):
        _die(os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


def _die(number: int) -> None:
    """End this process by a signal, without a core file: a command that crashed has left its own."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
