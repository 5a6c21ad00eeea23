"""What a result warns of, and what to do next: sentences about the numbers of `answer.json`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unisono.desk.words import speech
from unisono.sample_size import FEW_WORDS, MANY_UNSEEN, few_speakers, few_words, measured_half_width

UNUSABLE = 1.0  # error rate of a recogniser that writes nothing
USELESS = 0.5  # a recogniser with more errors a word shows that speech or text is too little
UNSURE = 0.1  # how far the rate may be off before anything else is worth a try
FAR_APART = 0.3  # speakers' rates: more than accents make
LITTLE_S = 3600.0  # of training speech
# Nats a frame by which dev falls below its best where training is too long. Smaller falls are flat: word error rates
# did not follow them (0.03 on 12 minutes of speech, 15 epochs down to 3).
OVERFIT = 0.1


def warnings(answer: Mapping[str, Any]) -> list[str]:
    """Say what makes the result weaker than it looks, a sentence each."""
    return [*_of_test(answer), *_of_rates(answer), *_of_text(answer), *_of_training(answer)]


def next_steps(answer: Mapping[str, Any], root: str) -> list[str]:
    """Say what a user may do now, the most useful first."""
    best, test = best_system(answer["systems"]), answer["splits"].get("test", {})
    steps = []
    if best and test and _off(best) > UNSURE and best["words"] < FEW_WORDS:
        steps.append(f"more test words first: {best['words']} cannot tell one setting from another")
    if best and best["wer"] > USELESS:
        steps += _for_more(answer)
    steps += [
        step for name, run in answer["training"].items() if overfits(run) for step in [_shorter(name, run, answer)]
    ]
    if not steps and any(row["difference"] >= 0 for row in answer["against_gmm"]):
        steps.append("the network is not better than the GMM: more epochs, a higher learning rate, or more speech")
    if best:
        steps.append(f"unisono transcribe --system {root}/runs/{best['folder'].split('/')[1]} recording.wav")
    if len(answer["training"]) == 1:
        steps.append(
            "to try settings without repeating features and GMM, add to the config, for example,"
            " runs: {a: {}, b: {schedule: {epochs: 10}}}; running the same name again replaces its result"
        )
    return steps


def best_system(systems: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return of the runs' results the best on dev; the first where nothing was tuned, None where there is none."""
    chosen = [system for system in systems if system["chosen"]]
    known = [system for system in chosen if system["dev_wer"] is not None]
    return min(known, key=lambda system: system["dev_wer"], default=chosen[0] if chosen else None)


def overfits(run: Mapping[str, Any]) -> bool:
    """Say whether the dev objective ended clearly below its best."""
    best, dev = run["objective_dev_best"], run["objective_dev"]
    return best is not None and dev is not None and best - dev > OVERFIT


def far_apart(answer: Mapping[str, Any]) -> bool:
    """Say whether one speaker fares much worse than another."""
    return len(answer["speakers"]) == 2 and answer["speakers"][1]["wer"] - answer["speakers"][0]["wer"] > FAR_APART


def unseen_share(answer: Mapping[str, Any], split: str) -> float:
    """Return which fraction of a split's words the language model's text never has."""
    words = answer["splits"].get(split, {}).get("words", 0)
    return answer["unseen_words"].get(split, 0) / words if words else 0.0


def _off(system: Mapping[str, Any]) -> float:
    return measured_half_width(max(1, system["words"]), system["ci95"])


def _of_test(answer: Mapping[str, Any]) -> Iterator[str]:
    test, best = answer["splits"].get("test", {}), best_system(answer["systems"])
    measured = (best["name"], best["wer"], _off(best)) if best else None
    yield from filter(None, [few_words(int(test.get("words", 0)), measured)])
    yield from filter(None, [few_speakers(int(test.get("speakers", 0)))])


def _of_rates(answer: Mapping[str, Any]) -> Iterator[str]:
    unusable = [system for system in answer["systems"] if system["wer"] > UNUSABLE]
    if unusable:
        named = " and ".join(f"{system['name']} ({system['inserted']} of them inserted words)" for system in unusable)
        yield (
            f"more errors than words by {named}: writing nothing has 100 %, so this is unusable;"
            f" the likely reason: {_likely(answer)}"
        )
    if far_apart(answer):
        low, high = answer["speakers"]
        yield (
            f"speakers are far apart, {100 * low['wer']:.2f} % ({low['speaker']}) to {100 * high['wer']:.2f} %"
            f" ({high['speaker']}): listen to {high['speaker']}, and compare with the transcripts"
        )


def _of_text(answer: Mapping[str, Any]) -> Iterator[str]:
    found = [split for split in ("dev", "test") if unseen_share(answer, split) > MANY_UNSEEN]
    if found:
        shares = ", ".join(
            f"{split} {answer['unseen_words'][split]} of {answer['splits'][split]['words']}"
            f" ({100 * unseen_share(answer, split):.0f} %)"
            for split in found
        )
        yield f"words that the language model's text never has: {shares}: give more text (corpus.lm_text)"
    yield from (f"{system['name']}: {system['edge']}" for system in answer["systems"] if system["edge"])


def _of_training(answer: Mapping[str, Any]) -> Iterator[str]:
    for name, run in answer["training"].items():
        if overfits(run):
            yield (
                f"run {name}: the dev objective fell from {run['objective_dev_best']:.2f} to"
                f" {run['objective_dev']:.2f}: it learns its training set by heart"
            )
        if run["rejected"]:
            yield f"run {name}: results of workers were left out {run['rejected']} times: lower the learning rate"
        yield from (f"run {name}: {line}" for line in run["warnings"])


def _likely(answer: Mapping[str, Any]) -> str:
    """Name what most often makes a recogniser useless, as far as the numbers show it."""
    seconds, reasons = answer["splits"].get("train", {}).get("seconds", LITTLE_S), []
    if seconds < LITTLE_S:
        reasons.append(f"only {speech(seconds)} of training speech")
    if (share := unseen_share(answer, "test")) > MANY_UNSEEN:
        reasons.append(f"{100 * share:.0f} % of the test words are new to the language model")
    return " and ".join(reasons) or "transcripts or a lexicon that do not fit the recordings"


def _for_more(answer: Mapping[str, Any]) -> list[str]:
    """Say what a recogniser lacks that errs in most words."""
    seconds, steps = answer["splits"].get("train", {}).get("seconds", 0.0), []
    if (share := unseen_share(answer, "test")) > MANY_UNSEEN:
        steps.append(
            f"text for the language model (corpus.lm_text): {100 * share:.0f} % of the test words are new to it"
        )
    if seconds < LITTLE_S:
        steps.append(f"more speech: {speech(seconds)} of training is little, an hour is a beginning")
    return steps or ["most words are wrong: listen to some recordings, and compare with transcripts and lexicon"]


def _shorter(name: str, run: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Give the remedy against a run that trains too long."""
    ways = ["fewer epochs"]
    if run["epochs"] and run["epochs_best"]:
        ways = [
            f"schedule.epochs: {max(1, round(run['epochs_best']))} (its best was after"
            f" {run['epochs_best']:.1f} of {run['epochs']:.0f})"
        ]
    if run["dropout"] is not None:
        ways.append(f"more network.dropout than {run['dropout']:g}" if run["dropout"] else "network.dropout: 0.2")
    if "perturbed" not in answer["splits"]:
        ways.append("speed_perturbation: [0.9, 1.1]")
    return f"run {name} trained too long: try {', or '.join(ways)}"
