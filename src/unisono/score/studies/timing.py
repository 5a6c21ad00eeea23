"""What averaging costs in time: the metrics of a run that come from the clock."""

import math
from collections.abc import Sequence

from unisono.config.claims import TIMED
from unisono.score.studies.cells import Numbers
from unisono.score.studies.findings import mean


def averaging(
    combined: Sequence[Numbers], workers: Sequence[Numbers], number: int, *, served: bool = False
) -> dict[str, float | None]:
    """Return the timed metrics of a run from its rows of metrics.jsonl; None where they lack a time.

    averaging_share: combining over training, waiting and combining. modelled_speedup: of `number` workers over one,
    T(1) / T(N) with T(N) = F / (N v) + F / (N K) c, v the frames per second of a worker, K the frames that it reads
    between two combinations, c the seconds of one (docs/papers.md). With a server, which takes in one push after the
    other, c is that of a push, of those that end an iteration, and T(N) at least F c / K. frames_per_s: of all workers,
    as they train, wait and are combined; true of ranks, which do so at once; a server takes in a push in c at best.
    """
    combining = mean([row.get("seconds_average") for row in combined])
    busy = [[row.get(key) for row in workers] for key in ("seconds_load", "seconds_compute")]
    trained = [mean(values) for values in busy]
    if combining is None or None in trained:
        return dict.fromkeys(TIMED)
    seconds = math.fsum(value for value in trained if value is not None)  # of a worker between two combinations
    waited = mean([row.get("seconds_wait") for row in workers]) or 0.0
    frames = mean([float(row["frames"]) for row in workers]) or 0.0
    # A rank that waits for its server waits until that has taken in the push; under `virtual` nobody waits.
    whole = seconds + (waited if served and waited else waited + combining)
    least = combining if served else 0.0  # between two pushes
    return {
        "averaging_share": combining / whole if whole else None,
        "modelled_speedup": seconds / max((seconds + combining) / number, least) if seconds else None,
        "frames_per_s": frames / max(whole / number, least) if whole else None,
    }
