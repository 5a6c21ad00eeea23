"""Tables of the report as small HTML documents that stand alone: no script, nothing loaded, every value escaped.

The HTML stands in `templates/page.html.j2`; Jinja2 escapes whatever is no result of the functions here.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_LOADER = FileSystemLoader(Path(__file__).parent / "templates")
_ENVIRONMENT = Environment(
    loader=_LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
)
_MACROS: Any = _ENVIRONMENT.get_template("page.html.j2").module


def page(title: str, *parts: str) -> str:
    """Join parts (results of the functions below) into a document."""
    return str(_MACROS.page(title, parts))


def heading(text: str) -> str:
    """Give a heading within a page."""
    return _MACROS.heading(text)


def paragraph(text: str) -> str:
    """Give a paragraph."""
    return _MACROS.paragraph(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], marked: Iterable[int] = ()) -> str:
    """Give a table; numbers (and None, shown as a dash) are set to the right. `marked`: rows in bold.

    A column is one of numbers if its first value that is not None is an int or a `Number` (see `decimal`).
    """
    rows = list(rows)
    numeric = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    return _MACROS.table(columns, [[_shown(cell) for cell in row] for row in rows], numeric, set(marked))


class Number(str):
    """A number already formatted, so that its column is set to the right."""

    __slots__ = ()


def decimal(value: float | None, decimals: int = 2) -> Number | None:
    """Format a number with its thousands separated; None stays None (a dash in the table)."""
    return None if value is None else Number(f"{value:,.{decimals}f}")


def _is_numeric(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and isinstance(known[0], Number | int)


def _shown(value: object) -> str:
    # A plain string: what is marked as safe, if a value ever were, would not be escaped.
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def list_of(entries: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """Return a table with a column for each field, or "None."."""
    if not entries:
        return paragraph("None.")
    return table([field.replace("_", " ") for field in fields], [[entry.get(f) for f in fields] for entry in entries])
