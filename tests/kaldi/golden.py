"""Files that Kaldi's own programs wrote, below kaldi-io/ of the reference."""

import pytest

from tests.support import kaldi_files

IO = kaldi_files.folder() / "kaldi-io"
# Tests that spoil a file know what stands in it.
first_system = pytest.mark.skipif(
    not (IO / "mono/ali.1.gz").is_file() or "\nZERO 12\n" not in (IO / "lang/words.txt").read_text(),
    reason="the golden files of Kaldi (KALDI_REFERENCE) are not those of the digits",
)


def cases(*patterns):
    """Return a parameter for each file of kaldi-io/ that fits a pattern; without these files one that is skipped."""
    return kaldi_files.cases(*(f"kaldi-io/{pattern}" for pattern in patterns))
