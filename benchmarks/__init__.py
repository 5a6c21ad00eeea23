"""Speed as ratios within one run: `make bench` (docs/benchmarks.md says what each key means).

Threads are set here, before anything numeric is imported, and the working tree is what is measured.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"
sys.path.insert(0, str(ROOT / "src"))
