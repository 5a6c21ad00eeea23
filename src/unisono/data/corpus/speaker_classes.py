"""Which class each speaker belongs to: from the corpus itself, and from columns of a table of speakers."""

from collections.abc import Mapping, Sequence
from typing import Any

from unisono.data.corpus.text import read_rows
from unisono.errors import UserError


def read_classes(
    corpus: Mapping[str, Any], tables: Sequence[str], columns: Mapping[str, str | float]
) -> list[dict[str, str]]:
    """Return groupings, each a mapping from speakers to the name of their class.

    corpus: content of corpus.json, whose `speaker_classes` are the first grouping if there are any. tables: none, or
    one with a column speaker_id. columns: name -> `each` (a class for every value: `gender f`), or a number that cuts
    the column in two (`age < 16`, `age >= 16`). Raises UserError for a missing column, a value that is no number, or a
    speaker of two classes.
    """
    own = corpus.get("speaker_classes") or {}
    groupings = [dict(own)] if own else []
    for path in tables:
        rows = read_rows(path, ("speaker_id", *columns))
        for column, border in columns.items():
            groupings.append({})
            for line, values in rows:
                where, speaker = f"{path}: line {line}", values["speaker_id"]
                name = _class(column, values[column], border, where)
                if (before := groupings[-1].setdefault(speaker, name)) != name:
                    raise UserError(f"{where}: speaker {speaker!r} is {name!r} here and {before!r} before: correct one")
    return groupings


def _class(column: str, value: str, border: str | float, where: str) -> str:
    if isinstance(border, str):
        return f"{column} {value}"
    try:
        return f"{column} {'<' if float(value) < border else '>='} {border:g}"
    except ValueError:
        raise UserError(
            f"{where}: {column} is {value!r}, no number: correct it, or set report.classes.{column}: each"
        ) from None
