"""Word errors by class of speakers, such as children and adults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unisono.score.statistics import Interval, bootstrap_wer
from unisono.score.wer import Counts, add_up

UNKNOWN = "class unknown"


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One system on the utterances of one class."""

    speaker_class: str
    speakers: int
    folder: str
    total: Counts
    interval: Interval


def by_class(
    groupings: Sequence[Mapping[str, str]],
    counts: Mapping[str, Mapping[str, Counts]],
    speakers: Mapping[str, str],
    *,
    seed: int,
) -> list[ClassResult]:
    """Count each system's errors in each class; by grouping, then by class, then by system.

    groupings: speaker -> class, each over all speakers. counts: folder of the system -> utterance -> counts.
    speakers: utterance -> speaker. A grouping that knows none of these speakers is left out; a speaker whom it lacks is
    of an unknown class.
    """
    found = []
    for grouping in groupings:
        if not set(grouping) & set(speakers.values()):
            continue
        members: dict[str, list[str]] = {}
        for utterance, speaker in sorted(speakers.items()):
            members.setdefault(grouping.get(speaker, UNKNOWN), []).append(utterance)
        for name in sorted(members):
            number = len({speakers[utterance] for utterance in members[name]})
            for folder, of_system in counts.items():
                own = {utterance: of_system[utterance] for utterance in members[name]}
                interval = bootstrap_wer(own, speakers, seed=seed)
                found.append(ClassResult(name, number, folder, add_up(own.values()), interval))
    return found
