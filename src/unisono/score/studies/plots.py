"""Pictures of a study: the course of each cell, and where each cell ended."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from unisono.score.gather import Rows
from unisono.score.plots import BLACK, BLUE, GREEN, ORANGE, RED, SKY, figure, frames_axis, legend_below, make_room
from unisono.score.studies.cells import Cell, backoffs

COLORS = (BLUE, ORANGE, GREEN, RED, SKY, BLACK)
LINES = ("-", "--", "-.", ":")
CANDIDATES = {
    "last": (BLUE, "o"),
    "best": (ORANGE, "^"),
    "ema": (RED, "s"),
    "polyak": (GREEN, "D"),
    "combined": (SKY, "p"),
}
FURTHER = "further cells"
FAR = {"objective_dev": 0.7, "wer": 0.3}  # what is far from the best cell at least: nats per frame, a fraction
EARLY, LATE = 0.15, 0.4  # of a course: from where on it should be seen, and from where on it is in any case
Placed = tuple[float, Mapping[str, Any]]  # height in the picture, and numbers of `findings.over_seeds`


def curves(
    path: str | Path,
    axis_names: Sequence[str],
    cells: Sequence[Cell],
    courses: Mapping[str, Rows],
    paces: Mapping[str, float | None] | None = None,
) -> None:
    """Dev objective against the frames of all workers: mean over seeds, band from the worst to the best seed.

    With two axes or more a panel for each value of the first, all on one scale, and one for cells outside of the grid.
    axis_names: those of the grid. courses: rows of `findings.curve` by cell. paces: frames per second of each cell, to
    draw against seconds (a cell without a pace is left out).
    """
    panels: dict[str, list[tuple[str, Rows]]] = {}
    for cell in cells:
        if paces is not None and not paces[cell.name]:
            continue
        several = len(cell.values) > 1
        panel = cell.values[0] if several else "" if cell.values else FURTHER
        label = "-".join(cell.values[1:]) if several else cell.name
        if halved := sum(map(backoffs, cell.runs)):
            label += f"\n(back-offs: {halved})"
        panels.setdefault(panel, []).append((label, _against(courses[cell.name], paces, cell.name)))
    if set(panels) <= {FURTHER}:
        panels = {"": panels.get(FURTHER, [])}
    bottom, top = _range(courses)
    with figure(path, max(7, 4.2 * len(panels) + 1), 4.6, panels=len(panels), sharey=True) as drawn:
        for axes, (title, lines) in zip(drawn, panels.items(), strict=True):
            for index, (label, rows) in enumerate(lines):
                _course(axes, rows, index, label, bottom)
            axes.set_title(title, loc="left")
            frames_axis(axes)
            if paces is not None:
                axes.set_xlabel("seconds of training, as if all workers worked at once")
            legend_below(axes, "-".join(axis_names[1:]) if title != FURTHER else "")
        drawn[0].set_ylabel("dev objective: mean log-probability\nof a frame (nats, higher is better)")
        drawn[0].set_ylim(bottom, top)
        make_room(drawn)


def _against(rows: Rows, paces: Mapping[str, float | None] | None, cell: str) -> Rows:
    """Return the rows with `x`, their place on the horizontal axis: frames, or seconds where there are paces."""
    pace = (paces or {}).get(cell) or 1.0
    return [row | {"x": row["frames"] / pace} for row in rows]


def final(path: str | Path, results: Mapping[str, Any]) -> None:
    """Where each cell ended: whole-dev objective, and beside it test WER where more than one system was decoded.

    A stroke: each seed. A sign: the mean, with its 95 % interval over seeds. What is far worse than the rest is put at
    the edge with its number.
    """
    cells = results["cells"]
    decoded = sum("wer" in numbers for cell in cells.values() for numbers in cell["candidates"].values()) > 1
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell["candidates"]))
    height = 1.6 + (0.2 + 0.16 * len(names)) * len(cells)
    with figure(path, 11 if decoded else 7, height, panels=1 + decoded, sharey=True) as drawn:
        for axes, field, scale in zip(drawn, ("objective_dev", "wer"), (1.0, 100.0), strict=False):
            placed = {name: _placed(cells, name, field) for name in names}
            failed = _bound(axes, list(chain.from_iterable(placed.values())), field, scale)
            for name, found in placed.items():
                _dots(axes, [one for one in found if one not in failed], scale, name)
            axes.grid(False, axis="y")
        drawn[0].set_yticks(range(len(cells)), list(cells))
        drawn[0].set_ylim(len(cells) - 0.4, -0.6)
        drawn[0].set_xlabel("dev objective (nats per frame, higher is better)")
        if decoded:
            drawn[1].set_xlabel("test word error rate (%, lower is better)")
        legend_below(drawn[0])


def _placed(cells: Mapping[str, Any], name: str, field: str) -> list[Placed]:
    """Return height and numbers of a candidate in each cell that has it; the candidates of a cell share its row."""
    placed = []
    for row, cell in enumerate(cells.values()):
        if field in cell["candidates"].get(name, {}):
            order, number = list(cell["candidates"]).index(name), len(cell["candidates"])
            placed.append((row + 0.55 * ((order + 0.5) / number - 0.5), cell["candidates"][name][field]))
    return placed


def _course(axes: Axes, rows: Rows, index: int, label: str, bottom: float) -> None:
    known = [row for row in rows if row["objective_dev"] is not None]
    x, y = [row["x"] for row in known], [row["objective_dev"] for row in known]
    if len(known) < len(rows):
        label += "\n(not finite)"
    if known and y[-1] < bottom:  # not even its first steps are drawn, which would say nothing
        axes.plot([], [], " ", label=f"{label}\n(not shown: ends at {y[-1]:,.{2 if y[-1] > -100 else 0}f})")
        return
    color, style = COLORS[index % len(COLORS)], LINES[index % len(LINES)]
    marker = "os^D"[index % 4] if len(known) < 40 else ""
    axes.plot(x, y, color=color, linestyle=style, marker=marker, markersize=4, label=label)
    low, high = ([row[key] for row in known] for key in ("objective_dev_min", "objective_dev_max"))
    axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)


def _dots(axes: Axes, found: Sequence[Placed], scale: float, name: str) -> None:
    color, marker = CANDIDATES.get(name, (BLACK, "v"))
    seeds = [(scale * value, y) for y, numbers in found for value in numbers["values"] if value is not None]
    if seeds:
        axes.plot(*zip(*seeds, strict=True), "|", color=color, markersize=8)
    means = [(scale * numbers["mean"], y) for y, numbers in found if numbers["mean"] is not None]
    if means:
        axes.plot(*zip(*means, strict=True), marker, color=color, markersize=6, label=name)
    for y, numbers in found:
        if numbers["ci95"]:
            axes.plot([scale * limit for limit in numbers["ci95"]], [y, y], color=color, linewidth=1.2)


def _bound(axes: Axes, found: Sequence[Placed], field: str, scale: float) -> list[Placed]:
    """Keep cells that failed from pressing all others into a line: put their numbers at the edge, and return them."""
    sign = 1.0 if field == "objective_dev" else -1.0  # error rates fail upwards
    known = [(y, numbers) for y, numbers in found if numbers["mean"] is not None]
    floor = _floor([sign * numbers["mean"] for _, numbers in known], FAR[field]) if known else 0.0
    failed = [(y, numbers) for y, numbers in known if sign * numbers["mean"] < floor]
    if not failed:
        return []
    kept = [numbers for _, numbers in known if sign * numbers["mean"] >= floor]
    shown = [scale * value for numbers in kept for value in (*numbers["values"], *(numbers["ci95"] or ()))]
    room = 0.12 * (max(shown) - min(shown) or scale)
    axes.set_xlim(min(shown) - room, max(shown) + room)
    for y, numbers in failed:
        text = f" \u25c0 {numbers['mean']:.2f} " if sign > 0 else f" {scale * numbers['mean']:.1f} \u25b6 "
        x, side = (0.0, "left") if sign > 0 else (1.0, "right")
        axes.text(x, y, text, transform=axes.get_yaxis_transform(), ha=side, va="center", fontsize=8)
    return failed


def _range(courses: Mapping[str, Rows]) -> tuple[float, float]:
    """Return the objectives between which the courses are worth a look: not the first steps, not a failed cell."""
    known = {cell: [row for row in rows if row["objective_dev"] is not None] for cell, rows in courses.items()}
    known = {cell: rows for cell, rows in known.items() if rows}
    if not known:
        return -1.0, 0.0
    top = max(row["objective_dev_max"] for rows in known.values() for row in rows)
    ends = {cell: rows[-1]["objective_dev"] for cell, rows in known.items()}
    floor = _floor(list(ends.values()), FAR["objective_dev"])
    kept = [rows for cell, rows in known.items() if ends[cell] >= floor]
    early, late = (
        min(row["objective_dev_min"] for rows in kept for row in rows if row["frames"] >= part * rows[-1]["frames"])
        for part in (EARLY, LATE)
    )
    bottom = min(late, max(early, floor))
    return bottom - 0.04 * (top - bottom), top + 0.04 * (top - bottom)


def _floor(ends: Sequence[float], far: float) -> float:
    """Return the lowest end worth a place: five times as far below the best as the median, and `far` at least."""
    return max(ends) - max(far, 5 * (max(ends) - median(ends)))
