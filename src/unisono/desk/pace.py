"""How long the rest of a run takes, from what was predicted for it and how fast the predictions were worked off.

The rest, in predicted seconds, takes as long as the slower says of two speeds: that since the predictions were made,
and that of the last minutes, as one stage may be predicted worse than another. An estimate is made when work is done;
between two of them it counts down, and where nothing moves for long there is none.
"""

from collections import deque

RECENT_S = 120.0
MOVES = 4  # in what is recent at least
QUIET_S = 90.0  # without a move nothing is known any more
FIRST_S, FIRST_PART = 10.0, 0.03  # that must have passed, and been done, before anything is known


class Pace:
    """The time that is left; clocks are in seconds and only ever compared with each other."""

    def __init__(self, now: float, left: float) -> None:
        """Begin with so many predicted seconds of work left."""
        self.restart(now, left)

    def restart(self, now: float, left: float) -> None:
        """Forget the moves so far: the predictions have changed."""
        self._moves: deque[tuple[float, float]] = deque([(now, left)])
        self._begun = (now, left)
        self._estimate: float | None = None

    def note(self, now: float, left: float) -> None:
        """Take the predicted seconds that are left now."""
        if left >= self._moves[-1][1]:
            return
        self._moves.append((now, left))
        while len(self._moves) > MOVES + 1 and now - self._moves[1][0] >= RECENT_S:
            self._moves.popleft()
        (begun, whole), (since, before) = self._begun, self._moves[0]
        if now - begun < FIRST_S or whole - left < FIRST_PART * whole:
            return
        self._estimate = left * max((now - begun) / (whole - left), (now - since) / (before - left))

    def left_s(self, now: float) -> float | None:
        """Return the seconds that are left; None where that is not known."""
        quiet = now - self._moves[-1][0]
        if self._estimate is None or quiet > QUIET_S or quiet >= self._estimate:
            return None
        return self._estimate - quiet
