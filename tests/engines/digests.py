"""Digests of miniature runs, one for each part of training that the rows of docs/results/main-job.md leave out.

    python tests/engines/digests.py FILE            # before a change: write the digests
    python tests/engines/digests.py FILE            # after it: compare with them; exit 1 where one differs

A digest covers every tensor of `final.safetensors` and not its header. It holds for one type of CPU: keep no file.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "src")]

import torch  # noqa: E402  (the number of threads is read at the imports)
from safetensors.torch import load  # noqa: E402

from tests.support.miniature import LIMIT, Task, config  # noqa: E402

RAMP = {"initial": 1, "final": 4}
EMA = {"decay": 0.8, "start": 0.2}
CASES = {
    "prior-of-posteriors": config(prior="posteriors", observers__ema=EMA, final_model="ema"),
    "dropout": config(network__dropout=0.2, optimiser__kind="ng_online", parallel__workers=3),
    "relu_renorm": config(network__nonlinearity="relu_renorm", parallel__combine="bmuf"),
    "ramp": config(parallel__workers=RAMP, observers__polyak={"start": 0.2}, final_model="polyak"),
    "newbob": config(schedule__kind="newbob", schedule__epochs=4, optimiser__learning_rate=0.02),
    "dealing-fixed": config(parallel__dealing="fixed", parallel__workers=3, parallel__combine="bmuf_nesterov"),
    "carry-average": config(parallel__carry_state="average", optimiser__kind="ng_online"),
    "carry-reset": config(parallel__carry_state="reset", parallel__workers=3, optimiser__kind="ng_simple"),
    "nnet2": config(optimiser__max_change=LIMIT | {"kind": "nnet2", "per_sample": 0.01}, optimiser__kind="ng_online"),
    "butterfly": config(parallel__combine="butterfly", parallel__workers=4, parallel__period_frames=200),
    "hopping_ring": config(parallel__combine="hopping_ring", parallel__workers=3, optimiser__kind="ng_online"),
    "static-best": config(schedule__epochs=None, schedule__iterations=5, final_model="best", parallel__workers=3),
    "back-off": config(optimiser__learning_rate=2e3, schedule__kind="fixed", parallel__max_backoffs=40),
}  # fmt: skip


def digest(model: bytes) -> str:
    """Return SHA-256 over name, type, shape and numbers of each tensor."""
    found = hashlib.sha256()
    for name, tensor in sorted(load(model).items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def digests() -> dict[str, str]:
    """Train each case by `jobs` and by `virtual` and return the digests."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in CASES.items():
            found[f"{name}.jobs"] = digest(Task(Path(folder, name, "jobs"), settings).jobs())
            found[f"{name}.virtual"] = digest(Task(Path(folder, name, "virtual"), settings).virtual())
    return found


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="digests of miniature runs")
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None
    found = digests()
    if not path.exists():
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{path}: {len(found)} digests written")
        return 0
    wanted = json.loads(path.read_text())
    differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    print(f"{len(found)} runs, {len(differing)} differ: {', '.join(differing) or 'none'}")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
