"""The wheels can hang on import: everything here happens in fresh processes with a time-out."""

import subprocess
import sys


def test_wheels_import_in_a_fresh_process():
    code = "from unisono.hmm.libs import kaldifst, kd, khg; import torch; print(khg.TransitionModel().num_pdfs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_missing_extra_is_said_in_one_line():
    code = "import sys; sys.modules['kaldi_hmm_gmm'] = None; import unisono.hmm.libs"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip().splitlines()[-1].startswith("unisono.errors.UserError: the HMM and FST wheels")
    assert "unisono[bootstrap]" in done.stderr
