"""Whether the disk has room for all that the stages after the corpus write."""

import os

from unisono.files import require_space

# Features of the GMMs (float32), of the network (float32) and the frames store (16 bits and a pdf_id) at 100 frames a
# second come to about 30 kB; deltas on the network's features, hypotheses and models are covered by the rest.
BYTES_PER_SECOND = 60_000


def require_space_for(folder: str | os.PathLike[str], seconds: float, what: str = "speech") -> None:
    """Raise UserError if the disk of `folder` has no room for what follows from so many seconds of speech."""
    require_space(folder, seconds * BYTES_PER_SECOND, f"what follows for {seconds / 3600:.1f} hours of {what}")
