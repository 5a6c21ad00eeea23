"""How many parameter vectors a combination and many virtual workers hold, from the peaks at two sizes of model."""

import os
import subprocess
import sys

import pytest
import torch

from tests.support.miniature import Task, config

torch.set_num_threads(1)
pytestmark = pytest.mark.slow
# Two wide and two narrow hidden layers, in another order: the buffers of activations are alike, the vectors are not.
SMALL, LARGE = [1400, 32, 1400, 32], [32, 32, 1400, 1400]
RULES = ["bmuf_nesterov", "butterfly", "ring"]

CHILD = """
import sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from tests.support.miniature import Task
import json
settings = json.load(open(sys.argv[2] + "/config.json"))
task = Task(sys.argv[2], settings)
from unisono.core import average
average.CHUNK = 1 << 14
task.combine(1) if sys.argv[3] == "jobs" else task.block(last=2)
# ru_maxrss would begin at the size of the process that started this one.
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024)
"""


def peak(task, what, root):
    arguments = [sys.executable, "-c", CHILD, str(root), str(task.folder), what]
    # One arena, and large blocks by mmap: freed vectors then leave the process.
    env = os.environ | {"PYTHONPATH": str(root / "src"), "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "100000"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def vectors(tmp_path, root, what, prepare, rule, workers=32):
    peaks, sizes = [], []
    for name, hidden in (("small", SMALL), ("large", LARGE)):
        settings = config(
            network__hidden=hidden, parallel__workers=workers, parallel__combine=rule,
            observers__ema={"decay": 0.9, "start": 0.0}, observers__polyak={"start": 0.0}, parallel__period_frames=32,
            parallel__first_iteration="combine", diagnostics={"frames": 0},
        )  # fmt: skip
        task = Task(tmp_path / name, settings, 80)
        task.initialise()
        prepare(task)
        peaks.append(peak(task, what, root))
        sizes.append(task.network.layout.size * 4)
    return (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])


@pytest.mark.parametrize("rule", RULES)
def test_a_combination_of_32_models_streams(tmp_path, root, rule):
    def prepare(task):
        for j in range(32):
            task.train_worker(0, j)
        task.combine(0)
        for j in range(32):
            task.train_worker(1, j)

    held = vectors(tmp_path, root, "jobs", prepare, rule)
    print(held)
    assert held <= 8


@pytest.mark.parametrize("rule", RULES)
def test_32_virtual_workers_hold_two_vectors_each_and_eight_more(tmp_path, root, rule):
    held = vectors(tmp_path, root, "virtual", lambda task: None, rule)
    print(held)
    assert held <= 2 * 32 + 8
