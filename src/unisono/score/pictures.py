"""Small pictures for one page that stands alone: plain data in, SVG text out; readable on a phone."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from unisono.score.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, STYLE

WIDTH = 5.2  # inches; at 10 points the text stays readable where the page is a phone's
COLOURS = (BLUE, RED, GREEN, ORANGE, SKY, BLACK, GREY)


class Picture:
    """A figure of one panel; `text()` gives its SVG, without an XML heading, so that it can stand in a page."""

    def __init__(self, height: float) -> None:
        """Begin a figure of so many inches."""
        with matplotlib.rc_context(cast(Any, STYLE)):
            self._figure = Figure(figsize=(WIDTH, height), layout="constrained")
            FigureCanvasSVG(self._figure)
            self.axes: Axes = self._figure.subplots()

    def legend_below(self) -> None:
        """Name the lines under the axes, two in a row, where they hide none."""
        if self.axes.get_legend_handles_labels()[0]:
            self._figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)

    def text(self) -> str:
        """Return the SVG; the same data give the same bytes."""
        stream = io.StringIO()
        with matplotlib.rc_context(cast(Any, STYLE)):
            self._figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
        svg = stream.getvalue()
        return svg[svg.index("<svg") :]


def rates(systems: Sequence[Mapping[str, Any]]) -> str:
    """Bars of the word error rates on test with their intervals; `name`, `wer` and `ci95` of each system."""
    picture = Picture(0.9 + 0.42 * len(systems))
    axes, at = picture.axes, list(range(len(systems)))
    percents = [100 * system["wer"] for system in systems]
    axes.barh(at, percents, 0.55, color=[BLUE if system["chosen"] else SKY for system in systems])
    for i, system in enumerate(systems):
        low, high = (100 * limit for limit in system["ci95"])
        axes.plot([low, high], [i, i], color=BLACK, marker="|", markersize=9, linewidth=1.4)
        axes.text(max(high, percents[i]), i, f"  {percents[i]:.1f}", va="center")
    axes.set_yticks(at, [system["name"] for system in systems])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, max([*percents, *(100 * system["ci95"][1] for system in systems), 1e-3]) * 1.15)
    axes.set_xlabel("word error rate on test (%), line: 95 % interval")
    return picture.text()


def courses(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Dev objective (full line) and train objective (dotted) of each run against the frames seen."""
    shown = list(runs.items())[: len(COLOURS)]
    picture = Picture(3.0 + 0.2 * len(shown))
    axes = picture.axes
    for (name, rows), colour in zip(shown, COLOURS, strict=False):
        for field, style, label in (("objective_dev", "-", "dev"), ("objective_train", ":", "train")):
            known = [(row["frames_seen"], row[field]) for row in rows if row.get(field) is not None]
            marker = "o" if len(known) < 40 and style == "-" else None
            named = f"{name}, {label}" if len(shown) > 1 else label
            if known:
                axes.plot(*zip(*known, strict=True), style, color=colour, marker=marker, markersize=3.5, label=named)
    axes.set_xlabel("training frames seen by all workers")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlim(left=0)
    axes.set_ylabel("objective (nats a frame)")
    picture.legend_below()
    return picture.text()


def spent(stages: Mapping[str, float]) -> str:
    """Bars of the seconds of each stage, in minutes."""
    picture = Picture(0.8 + 0.3 * max(1, len(stages)))
    axes = picture.axes
    axes.barh(list(stages), [seconds / 60 for seconds in stages.values()], 0.6, color=GREEN)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("minutes, summed over the jobs of a stage")
    return picture.text()
