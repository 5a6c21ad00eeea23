"""What a client and the warm interpreter's server say to each other; standard library only, and little of it.

    client  length (8 bytes, big-endian), then fields joined by NUL, and with them descriptors 0, 1 and 2
    server  nothing but the end of the stream (it refuses), or the child's process id and a newline
    client  a byte for each signal to pass on
    server  the child's wait status, CPU seconds and peak memory in MB, and a newline

The fields: how many arguments, those, how many parts of an identity, those, then the environment.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

VARIABLE = "UNISONO_WARM"  # path of the server's socket, set for the jobs of a workflow that has one
PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGCONT,
)
# What differs from job to job and decides nothing before a command begins: Snakemake's numbers of threads, which every
# command sets anew, its folders of temporary files, and what the shell says of itself.
VARYING = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "TMPDIR", "TMP", "TEMPDIR", "TEMP", "SHLVL", "OLDPWD", "_", VARIABLE),
)
_LENGTH = 8


def identity() -> list[str]:
    """Return what a forked copy takes over from the server, and must have in common with the process it stands for."""
    mask = os.umask(0o077)
    os.umask(mask)
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if name not in VARYING)
    return [sys.executable, os.path.dirname(__file__), os.getcwd(), str(mask), *sys.path, *variables]


def send_request(connection: socket.socket, arguments: Sequence[str]) -> None:
    """Ask for a command in this process's place. Raises OSError where the server or a standard stream is gone."""
    own = identity()
    environment = [f"{name}={value}" for name, value in os.environ.items()]
    words = [str(len(arguments)), *arguments, str(len(own)), *own, *environment]
    message = b"\0".join(map(os.fsencode, words))
    message = len(message).to_bytes(_LENGTH, "big") + message
    sent = socket.send_fds(connection, [message], [0, 1, 2])
    connection.sendall(message[sent:])


def receive_request(connection: socket.socket) -> tuple[list[str], list[str], dict[str, str], list[int]]:
    """Return a request's arguments, identity and environment, and the client's three streams.

    Raises OSError or ValueError, with the streams closed, for what is none.
    """
    data, streams, _, _ = socket.recv_fds(connection, 65536, 3)
    try:
        while len(data) < _LENGTH or len(data) < _LENGTH + int.from_bytes(data[:_LENGTH], "big"):
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("the client has ended")
            data += more
        data = data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "big")]  # a signal may have come after it
        count, *rest = [os.fsdecode(field) for field in data.split(b"\0")]
        arguments, (size, *rest) = rest[: int(count)], rest[int(count) :]
        own, variables = rest[: int(size)], rest[int(size) :]
        if len(streams) != 3:
            raise ValueError("a request comes with three descriptors")
        return arguments, own, dict(variable.split("=", 1) for variable in variables), list(streams)
    except BaseException:
        for descriptor in streams:
            os.close(descriptor)
        raise


def say(connection: socket.socket, words: bytes) -> None:
    """Send words to someone who may have ended: whoever listens to him will notice."""
    with suppress(OSError):
        connection.sendall(words)


def hear(connection: socket.socket) -> bytes:
    """Return what has come; empty where the other one has ended."""
    try:
        return connection.recv(4096)
    except OSError:
        return b""
