"""Files that Kaldi's own programs wrote: KALDI_REFERENCE names the folder that holds kaldi-io/; cases by pattern."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / os.environ.get("KALDI_REFERENCE", "../shared/reference")
IO = REFERENCE / "kaldi-io"
needed = pytest.mark.skipif(not IO.is_dir(), reason="no golden files of Kaldi (KALDI_REFERENCE)")
# Tests that spoil a file know what stands in it.
first_system = pytest.mark.skipif(
    not (IO / "mono/ali.1.gz").is_file() or "\nZERO 12\n" not in (IO / "lang/words.txt").read_text(),
    reason="the golden files of Kaldi (KALDI_REFERENCE) are not those of the digits",
)


def cases(*patterns):
    """Return a parameter for each file of kaldi-io/ that fits a pattern; without these files one that is skipped."""
    found = sorted({path for pattern in patterns for path in IO.glob(pattern)})
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {patterns[0]} in KALDI_REFERENCE/kaldi-io"))]
    return [pytest.param(path, id=path.relative_to(IO).as_posix()) for path in found]
