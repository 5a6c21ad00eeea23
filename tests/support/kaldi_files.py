"""Where Kaldi's own numbers lie, and the cases among them: by pattern, so that other files of a kind are tried, too."""

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "KALDI_REFERENCE"


def folder():
    """The folder that holds kaldi-ng, kaldi-nn and kaldi-io."""
    return ROOT / os.environ.get(VARIABLE, "../shared/reference")


def cases(*patterns):
    """The files of patterns such as `kaldi-nn/act_*.npz` as parameters of a test; one that is skipped without any."""
    paths = sorted({path for pattern in patterns for path in folder().glob(pattern)})
    found = [pytest.param(path, id=path.relative_to(folder()).with_suffix("").as_posix()) for path in paths]
    absent = pytest.mark.skip(reason=f"no {patterns[0]} of Kaldi ({VARIABLE})")
    return found or [pytest.param(None, id="absent", marks=absent)]


def relative(found, expected):
    """Relative Frobenius error in double precision."""
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / max(np.linalg.norm(expected), 1e-300)
