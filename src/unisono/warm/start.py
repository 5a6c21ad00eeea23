"""Start the warm interpreter of a workflow; the standard library's part, which Snakemake reads."""

import atexit
import os
import shlex
import shutil
import socket
import subprocess
import tempfile

from unisono.warm.message import VARIABLE


def start(prefix: str, log: str) -> None:
    """Start a server for the jobs that this process starts, in the shell's environment after `prefix`.

    It lives as long as this process. Jobs that come before it has imported torch wait for it. Nothing is started where
    the system has no process descriptors (it is not Linux) or where a socket cannot lie in the folder for temporary
    files. log: where the server's own messages go.
    """
    os.environ.pop(VARIABLE, None)
    if not _has_process_descriptors():
        return
    folder = tempfile.mkdtemp(prefix="unisono-")  # for its owner only
    path = os.path.join(folder, "socket")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, open(log, "w", encoding="utf-8") as messages:
        try:
            listener.bind(path)
        except OSError as error:  # its name is too long, or the file system has no sockets
            print(f"{path}: {error}: no warm interpreter", file=messages)
            os.rmdir(folder)
            return
        listener.listen(128)
        reading, held = os.pipe()  # `held` stays open as long as this process lives, and no child inherits it
        words = f"{prefix}exec python -m unisono.warm.server {shlex.quote(path)} {listener.fileno()}"
        subprocess.Popen(
            ["bash", "-c", words],
            stdin=reading,
            stdout=messages,
            stderr=messages,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    os.close(reading)
    os.environ[VARIABLE] = path
    atexit.register(_stop, held, folder)


def _has_process_descriptors() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _stop(held: int, folder: str) -> None:
    os.close(held)
    shutil.rmtree(folder, ignore_errors=True)
