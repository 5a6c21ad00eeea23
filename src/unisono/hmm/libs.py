"""The one place that imports the FST wheels, in the one order that works.

Their OpenFST registries are unique symbols shared by the whole process: another order of import hangs for ever
without a word. kaldilm must come last and aborts the process on a malformed file, so it is never imported here
but run in a child process (graph.py). Everybody else writes `from unisono.hmm.libs import kaldifst, kd, khg`.
"""

from unisono.errors import UserError

# isort: off
try:
    import kaldi_decoder as kd
    import kaldi_hmm_gmm as khg
    import kaldifst
except ImportError as error:
    raise UserError(
        f"the HMM and FST wheels are not installed ({error}): install the extra, pip install 'unisono[bootstrap]'"
    ) from None
# isort: on

__all__ = ["kaldifst", "kd", "khg"]
