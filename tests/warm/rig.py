"""A warm interpreter as a workflow has one, and a command that says what it sees and does what it is told."""

import os
import subprocess
import sys
import time
from pathlib import Path

PREFIX = "export PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1; "
COMMAND = '''
"""A command of the test."""

import argparse
import atexit
import json
import locale
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--do", default="")
    parser.add_argument("--out", default="")


def run(args: argparse.Namespace) -> None:
    if args.do == "describe":
        write(args.out, json.dumps(described(args.threads)))
    elif args.do == "who":
        write(args.out, str(os.getppid()))
    elif args.do == "sleep":
        write(args.out, str(os.getpid()))
        time.sleep(600)
    elif args.do == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write(args.out, str(os.getpid()))
        time.sleep(600)
    elif args.do == "pool":
        context = multiprocessing.get_context("fork")
        pool = [context.Process(target=time.sleep, args=(600,)) for _ in range(2)]
        for process in pool:
            process.start()
        write(args.out, "\\n".join(str(p) for p in [os.getpid(), *(process.pid for process in pool)]))
        pool[0].join()
    elif args.do == "catch":
        caught = []
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, lambda number, _: caught.append(number))
        write(args.out, str(os.getpid()))
        while not caught:
            time.sleep(0.01)
        sys.exit(40 + caught[0])
    elif args.do.startswith("exit"):
        sys.exit(int(args.do.split()[1]))
    elif args.do.startswith("die"):
        os.kill(os.getpid(), int(args.do.split()[1]))
        time.sleep(600)
    elif args.do == "talk":
        print("from python")
        print("aside", file=sys.stderr)
        os.write(2, b"from a library\\n")
        print(sys.stdin.read(), end="")
    elif args.do == "late":
        atexit.register(print, "at the end")
        threading.Timer(0.3, print, ["from a thread"]).start()
    elif args.do == "work":
        block = bytearray(os.urandom(1 << 20)) * 300
        begun = time.process_time()
        while time.process_time() - begun < 1.5:
            pass
        del block


def write(path: str, text: str) -> None:
    with open(f"{path}.part", "w") as file:
        file.write(text)
    os.replace(f"{path}.part", path)


def described(threads: int) -> dict:
    import numpy
    import torch

    before = len(os.listdir("/proc/self/task"))
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": [os.umask(0o022), os.umask(0o022)][0],
        "arguments": sys.argv,
        "interpreter": [sys.executable, sys.prefix, sys.version, repr(sys.flags)],
        "path": sys.path,
        "signals": {number: repr(signal.getsignal(number)).split(" at ")[0] for number in range(1, 32)},
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "descriptors": sorted(os.listdir("/proc/self/fd"), key=int),
        "streams": [[s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines] for s in streams],
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "nice": os.nice(0),
        "cores": sorted(os.sched_getaffinity(0)),
        "locale": [locale.getlocale(), locale.getpreferredencoding(), time.tzname],
        "temporary": tempfile.gettempdir(),
        "torch": [torch.get_num_threads(), repr(torch.get_default_dtype()),
                  torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()],
        "numpy": [numpy.geterr(), numpy.get_printoptions()["precision"]],
        "threads": before,
        "cuda": [torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork()],
        "groups": [os.getuid(), os.getgid(), os.getgroups()],
        "start method": multiprocessing.get_start_method(allow_none=True),
        "random": bool(sys.flags.hash_randomization),
    }
'''
HOLDER = """
import os, sys
from unisono.warm.start import start
start(sys.argv[1], sys.argv[2])
print(os.environ.get("UNISONO_WARM", ""), flush=True)
sys.stdin.read()
"""


class Workflow:
    """A process that has started a warm interpreter as Snakemake does, and jobs that are started as its rules are."""

    def __init__(self, folder, package, environment=None):
        self.folder, self.number = Path(folder), 0
        first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": first, "PYTHONPATH": str(package), **(environment or {})}
        self.log = self.folder / "results" / "test" / "logs" / "warm.log"
        self.holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, PREFIX, self.log.relative_to(self.folder)],
            cwd=self.folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.socket = self.holder.stdout.readline().strip()

    def job(self, *arguments, warm=True, before="", python="python", environment=None, **keywords):
        """Start a rule's command; returns the shell's process. Its streams are pipes where nothing else is asked."""
        words = [PREFIX, before, python, "-m", "unisono", *(f"'{word}'" for word in map(str, arguments))]
        path = {"UNISONO_WARM": self.socket} if warm else {}
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            ["bash", "-c", " ".join(words)],
            cwd=self.folder, env=self.environment | path | (environment or {}), text=True, **pipes | keywords,
        )  # fmt: skip

    def run(self, *arguments, input="", **keywords):
        """Run a rule's command to its end; returns exit code, stdout and stderr."""
        process = self.job(*arguments, stdin=subprocess.PIPE, **keywords)
        output, errors = process.communicate(input, timeout=120)
        return process.returncode, output, errors

    def at_work(self, do, **keywords):
        """Start a job; returns its shell's process and the numbers of the processes of its command, once it works."""
        self.number += 1
        out = self.folder / f"pids.{self.number}"
        process = self.job("probe", "--do", do, "--out", out, **keywords)
        wait_for(out.exists)
        return process, [int(line) for line in out.read_text().split()]

    def is_served(self, **keywords):
        """Say whether a command runs in a copy of the server."""
        self.number += 1
        out = self.folder / f"parent.{self.number}"
        code, _, errors = self.run("probe", "--do", "who", "--out", out, **keywords)
        assert code == 0, errors
        return int(out.read_text()) == self.server_pid

    def client(self, shell):
        """Return the process that waits for a command: the shell has started it, or become it."""
        return next(pid for pid in (shell.pid, *children_of(shell.pid)) if "-m\0unisono\0" in command_of(pid))

    @property
    def server_pid(self):
        """The server's process id; 0 where there is none. Its copies have the same command line."""
        alike = [pid for pid in processes() if f"\0{self.socket}\0" in command_of(pid)]
        return next((pid for pid in alike if (stat_of(pid) or ("", 0))[1] not in alike), 0)

    def refusals(self):
        """Return what the server has said."""
        return self.log.read_text()

    def close(self):
        """End as Snakemake does, and wait for the server's end."""
        if self.holder.poll() is None:
            self.holder.communicate("")
        wait_for(lambda: not os.path.exists(self.socket))


def processes():
    """Return the numbers of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def stat_of(pid):
    """Return a process's state and parent; None where it is gone."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def command_of(pid):
    """Return a process's command line, its words ended by NUL; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid):
    """Say whether a process is there and no zombie."""
    state = stat_of(pid)
    return state is not None and state[0] not in "ZX"


def children_of(pid):
    """Return the processes that a process has started."""
    return [other for other in processes() if (stat_of(other) or ("", 0))[1] == pid]


def wait_for(condition, seconds=60.0):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
