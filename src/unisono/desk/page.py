"""The report's first page: one HTML file that stands alone, made from `answer.json` and three pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from unisono.data.corpus.text import counted
from unisono.desk.advice import best_system
from unisono.desk.last_lines import OBJECTIVE, by_speaker, sentence
from unisono.desk.words import duration, speech
from unisono.score import pictures
from unisono.score.comparison import RULE
from unisono.score.gather import Rows

TEMPLATES = Path(__file__).parent / "templates"


def first_page(answer: Mapping[str, Any], courses: Mapping[str, Rows]) -> str:
    """Return the page. answer: as in answer.json. courses: the combined rows of each run's metrics."""
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    drawn = {
        "rates": Markup(pictures.rates(answer["systems"])),
        "courses": Markup(pictures.courses(courses)),
        "spent": Markup(pictures.spent(answer["stages"])) if answer["stages"] else "",
    }
    return environment.get_template("index.html.j2").render(
        answer=answer, best=best_system(answer["systems"]), pictures=drawn, sentence=sentence, percent=percent,
        capital=capital, count=count, counted=counted, decimal=decimal, duration=duration, workers=workers,
        speech=speech, by_speaker=by_speaker(answer), rule=RULE, objective=OBJECTIVE,
    )  # fmt: skip


def capital(text: str) -> str:
    """Return a sentence with its first letter as a capital, the others as they stand."""
    return text[:1].upper() + text[1:]


def percent(fraction: float | None) -> str:
    """Return a fraction as percent with two decimals, a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def count(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}"


def decimal(number: float | None) -> str:
    """Return a number with two decimals, a dash where there is none."""
    return "–" if number is None else f"{number:.2f}"


def workers(number: int | Mapping[str, int] | None) -> str:
    """Say how many workers a run has; {initial, final} for a number that grows."""
    if isinstance(number, Mapping):
        return f"{number['initial']} to {number['final']} workers"
    return "workers" if number is None else f"{number} worker{'' if number == 1 else 's'}"
