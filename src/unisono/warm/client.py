"""Hand a command to the warm interpreter, wait for it, and end as it ended.

Standard library only, and little of it: every job of the workflow starts here. What passes over the socket:

    client  length (8 bytes, big-endian), then fields joined by NUL, and with them descriptors 0, 1 and 2
    server  nothing but the end of the stream (it refuses), or the child's process id
    client  a byte for each signal to pass on
    server  the child's wait status, CPU seconds and peak memory in MB
"""

import contextlib
import os
import select
import signal
import socket
import sys

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
        with socket.socket(socket.AF_UNIX) as connection, open(os.pidfd_open(os.getppid())) as parent:
            connection.connect(path)
            _send(connection, _request(arguments))
            ended = _wait(connection, signals, parent.fileno())
    except OSError:  # it has gone, or one of our three descriptors is closed
        return None
    finally:
        _release_signals(signals, handlers)
    return None if ended is None else _end(arguments, *ended)


def identity() -> list[str]:
    """Return what a forked copy takes over from the server, and must have in common with the process it stands for."""
    mask = os.umask(0o077)
    os.umask(mask)
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if name not in VARYING)
    return [sys.executable, os.path.dirname(__file__), os.getcwd(), str(mask), *sys.path, *variables]


def fields(message: bytes) -> list[str]:
    """Return the fields of a request: how many arguments, those, how many parts of an identity, those, environment."""
    return [os.fsdecode(field) for field in message.split(b"\0")]


def _request(arguments: list[str]) -> bytes:
    own = identity()
    environment = [f"{name}={value}" for name, value in os.environ.items()]
    words = [str(len(arguments)), *arguments, str(len(own)), *own, *environment]
    message = b"\0".join(map(os.fsencode, words))
    return len(message).to_bytes(8, "big") + message


def _send(connection: socket.socket, message: bytes) -> None:
    sent = socket.send_fds(connection, [message], [0, 1, 2])
    connection.sendall(message[sent:])


def _catch_signals() -> tuple[int, dict[int, object]]:
    """Return a descriptor that the numbers of signals come from, and what was done about them before.

    What is ignored stays so: the server has inherited the same.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    caught = [number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN]
    return reading, {number: signal.signal(number, lambda *_: None) for number in caught}


def _release_signals(reading: int, handlers: dict) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.close(signal.set_wakeup_fd(-1))
    os.close(reading)


def _wait(connection: socket.socket, signals: int, parent: int) -> tuple[int, float, float] | None:
    """Return wait status, CPU seconds and peak memory of the served command; None where it was refused.

    The job ends with whoever waits for it: where the shell that called us has gone, so has its command.
    """
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
            said = _hear(connection)
            heard += said
            if not said:
                return _left_alone(child) if child else None
            first, *rest = heard.split(b"\n")
            child = int(first)
            if len(rest) > 1:
                status, cpu, memory = rest[0].split()
                return int(status), float(cpu), float(memory)


def _hear(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""


def _pass_on(numbers: bytes, connection: socket.socket, child: int) -> None:
    """Hand signals to the command; before it runs they do what they always do. A stop stops this process too."""
    for number in numbers:
        if not child and number not in (signal.SIGTSTP, signal.SIGCONT):
            _die(number)
        with contextlib.suppress(OSError):  # the end of the stream will be heard
            connection.send(bytes([number]))
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
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
