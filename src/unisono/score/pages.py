"""Tables of the report as small HTML documents that stand alone: no script, nothing loaded, every value escaped."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5em; }
h1 { font-size: 1.25em; } h2 { font-size: 1.05em; margin-top: 1.6em; } p { max-width: 60em; }
table { border-collapse: collapse; margin: 0.6em 0; }
th, td { padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr:hover td { background: #f3f6fa; } tr.marked td { font-weight: 600; }
"""


def page(title: str, *parts: str) -> str:
    """Join parts (already HTML) into a document; the title is escaped."""
    name = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{name}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def heading(text: str) -> str:
    """Give a heading within a page."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Give a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], marked: Iterable[int] = ()) -> str:
    """Give a table; numbers (and None, shown as a dash) are set to the right. `marked`: rows in bold.

    A column is one of numbers if its first value that is not None is an int or a `Number` (see `decimal`).
    """
    rows = list(rows)
    bold = set(marked)
    numeric = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    lines = ["<table><thead><tr>" + _cells("th", columns, numeric) + "</tr></thead><tbody>"]
    for index, row in enumerate(rows):
        lines.append(("<tr class=marked>" if index in bold else "<tr>") + _cells("td", row, numeric) + "</tr>")
    return "\n".join([*lines, "</tbody></table>"])


class Number(str):
    """A number already formatted, so that its column is set to the right."""

    __slots__ = ()


def decimal(value: float | None, decimals: int = 2) -> Number | None:
    """Format a number with its thousands separated; None stays None (a dash in the table)."""
    return None if value is None else Number(f"{value:,.{decimals}f}")


def _is_numeric(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and isinstance(known[0], Number | int)


def _cells(tag: str, values: Sequence[object], numeric: Sequence[bool]) -> str:
    cells = []
    for value, is_number in zip(values, numeric, strict=True):
        shown = "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
        cells.append(f"<{tag}{' class=number' if is_number else ''}>{html.escape(shown)}</{tag}>")
    return "".join(cells)
