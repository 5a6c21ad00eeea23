"""Praat's TextGrids in the two forms in which the Montreal Forced Aligner has them.

Before alignment a tier is a speaker and each of its intervals an utterance. After alignment there are tiers of words
and of phones (`words`, `phones`, or `anna - words`): the words of a tier are one utterance, the whole recording.
"""

from pathlib import Path

from unisono.errors import UserError

Part = tuple[str, str, tuple[float, float | None] | None]


def read_textgrid(path: Path) -> list[Part]:
    """Return speaker ("" where no tier names one), transcript, and start and end in seconds (None: all of it) of each.

    Raises UserError naming the file where it is no TextGrid, or where a recording has words of several speakers.
    """
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.utilities.constants import Interval
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except (PraatioException, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(f"{path}: not readable as a TextGrid ({reason}): save it anew with Praat") from None
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    words = [name for name in tiers if name.split("-")[-1].strip().lower() == "words"]
    if len(words) > 1:
        raise UserError(f"{path}: the words of {len(words)} speakers: give the TextGrids of before the alignment")
    if words:
        speaker = words[0].rpartition("-")[0].strip()
        return [(speaker, " ".join(entry.label for entry in tiers[words[0]].entries), None)]
    return [
        (name.strip(), entry.label, (float(entry.start), float(entry.end)))
        for name, tier in tiers.items()
        for entry in tier.entries
        if isinstance(entry, Interval) and entry.label.strip()
    ]
