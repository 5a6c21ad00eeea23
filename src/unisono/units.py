"""What a network trains on at a time: a frame, or a chunk of neighbouring frames of one utterance.

An utterance of L frames has ceil(L / width) units: unit k begins at frame k width, the last one is moved back so that
it ends with the utterance. What two units share counts in the first alone, so each frame counts once. Only an
utterance shorter than `width` has a unit that goes beyond its end.
"""

from collections.abc import Sequence
from typing import NamedTuple


class TrainingUnit(NamedTuple):
    """width: frames with labels. left, right: frames before the first and after the last of them that are read, too.

    Beyond the ends of an utterance the first and the last frame are repeated.
    """

    width: int = 1
    left: int = 0
    right: int = 0

    @property
    def frames(self) -> int:
        """The frames that a unit is computed from."""
        return self.left + self.width + self.right

    @property
    def name(self) -> str:
        """What several units are called in a message."""
        return "frames" if self.width == 1 else f"chunks of {self.width} frames"

    @property
    def minibatch(self) -> int:
        """How many make a minibatch where nobody says."""
        return 256 if self.width == 1 else 64

    def count(self, lengths: Sequence[int]) -> list[int]:
        """Return how many units each utterance has."""
        return [-(-length // self.width) for length in lengths]


FRAME = TrainingUnit()
