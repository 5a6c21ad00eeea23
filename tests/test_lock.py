"""The lock of a folder of results: one process at a time, gone with its process, not held by children."""

import signal
import subprocess
import sys

import pytest

from unisono import lock
from unisono.errors import UserError

HOLDER = """if True:
    import subprocess, sys
    from unisono import lock
    lock.hold(sys.argv[1])
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_killed_it_leaves_nothing(tmp_path, root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    path = tmp_path / "results" / "x" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    with pytest.raises(UserError, match=f"^{path.parent}: another snakemake is making these results: wait"):
        lock.hold(path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    try:
        lock.hold(path)  # although the command that the killed one had started is still there
        assert subprocess.run(["kill", "-0", str(child)], check=False).returncode == 0
    finally:
        subprocess.run(["kill", "-9", str(child)], check=True)
