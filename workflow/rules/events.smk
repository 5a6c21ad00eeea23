"""The course of training for TensorBoard, MLflow or Weights & Biases, written beside this call of Snakemake.

Requires: settings.smk. Provides: what the section `logging` asks for; no rule reads it.
"""

import atexit
import importlib.util
import subprocess

from unisono.config.logging import LIBRARIES


def log_elsewhere():
    """Let a process of its own write it, until this one ends: also by kill -9, as it reads a pipe that this one holds."""
    wanted = SHARED.logging.on()
    if not wanted or not workflow.is_main_process:
        return
    for name in wanted:
        if importlib.util.find_spec(LIBRARIES[name]) is None:
            remedy = f"pip install {LIBRARIES[name]}"
            raise WorkflowError(f"config: logging.{name}: {LIBRARIES[name]} is not installed: {remedy}")
    words = ["log", results(""), *(f"--{name}" for name in wanted), "--until-eof"]
    log = results("logs/log.log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "w", encoding="utf-8") as messages:
        child = subprocess.Popen(
            [sys.executable, "-m", "unisono", *words],
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            env={**os.environ, "PYTHONPATH": f"{workflow.basedir}/src"},
            start_new_session=True,
        )
    atexit.register(child.communicate)  # ends its input, and waits until it has written the last numbers
