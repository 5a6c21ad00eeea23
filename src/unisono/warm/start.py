"""Start the warm interpreter of a workflow; the standard library's part, which Snakemake reads."""

import atexit
import os
import shlex
import shutil
import socket
import subprocess
import tempfile

from unisono.warm.client import VARIABLE

LONGEST_PATH = 107  # bytes of a Unix socket's address


def start(prefix: str, log: str) -> None:
    """Start a server for the jobs that this process starts, in the shell's environment after `prefix`.

    It lives as long as this process. Jobs that come before it has imported torch wait for it. Nothing is started where
    the system lacks process descriptors (it is not Linux) or has no folder for temporary files with a short name.
    log: where the server's own messages go.
    """
    os.environ.pop(VARIABLE, None)
    if not hasattr(os, "pidfd_open"):
        return
    folder = tempfile.mkdtemp(prefix="unisono-")  # for its owner only
    path = os.path.join(folder, "socket")
    if len(os.fsencode(path)) > LONGEST_PATH:
        os.rmdir(folder)
        return
    os.makedirs(os.path.dirname(log), exist_ok=True)
    reading, held = os.pipe()  # `held` stays open as long as this process lives, and no child inherits it
    with socket.socket(socket.AF_UNIX) as listener, open(log, "w") as messages:
        listener.bind(path)
        listener.listen(128)
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


def _stop(held: int, folder: str) -> None:
    os.close(held)
    shutil.rmtree(folder, ignore_errors=True)
