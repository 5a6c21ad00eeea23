"""Pictures of the report: plain data in, one SVG or PNG file out (by the path's ending).

Colours are those of Okabe & Ito 2008, told apart by colour-blind readers too; lines differ in style as well.  The same
data give the same bytes: no dates, fixed ids.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from unisono.files import atomic_path

BLACK, ORANGE, SKY, GREEN, BLUE, RED, GREY = "#1a1a1a", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#999999"
PHASES = {"start": GREY, "load": SKY, "compute": BLUE, "wait": ORANGE, "average": GREEN, "write": RED}
STYLE = {
    "svg.hashsalt": "unisono",
    "text.parse_math": False,  # a name with a dollar sign is a name
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}

Rows = Sequence[Mapping[str, Any]]


@contextmanager
def figure(path: str | Path, width: float, height: float, panels: int = 1, **keywords: Any) -> Iterator[list[Axes]]:
    """Yield the axes of a figure of `panels` panels side by side or (`nrows`) below each other; write it at the end.

    width, height: inches.
    """
    with matplotlib.rc_context(cast(Any, STYLE)):
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        grid = {"nrows": 1, "ncols": panels, **keywords}
        yield list(drawn.subplots(squeeze=False, **grid).flat)
        kind = Path(path).suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        with atomic_path(path) as temporary:
            drawn.savefig(temporary, format=kind, dpi=120, metadata=metadata)


def learning_curve(path: str | Path, title: str, combined: Rows, workers: Rows, objective: str) -> None:
    """Objective against frames seen: each worker on its own slice, the combined model on train and dev."""
    with figure(path, 8, 4.8) as (axes,):
        _worker_points(axes, workers, "objective_train", 1.0, "each worker, its own slice")
        _line(axes, combined, "objective_train", 1.0, color=BLUE, marker="o", label="combined model, train subset")
        _line(axes, combined, "objective_dev", 1.0, color=RED, marker="s", label="combined model, dev subset")
        full = [row for row in combined if row.get("objective_dev_full") is not None]
        if full:
            x, y = [row["frames_seen"] for row in full], [row["objective_dev_full"] for row in full]
            axes.plot(x, y, linestyle="none", marker="D", color=BLACK, markerfacecolor="white", label="… whole dev set")
        frames_axis(axes)
        axes.set_ylabel(f"objective, higher is better:\n{objective}")
        axes.set_title(title, loc="left")
        legend(axes)


def frame_accuracy(path: str | Path, title: str, combined: Rows, workers: Rows) -> None:
    """Frame accuracy, and below it the learning rate of one worker, against frames seen."""
    with figure(path, 8, 6, nrows=2, ncols=1, sharex=True, height_ratios=[3, 1]) as (accuracy, rate):
        _worker_points(accuracy, workers, "frame_accuracy", 100.0, "each worker, its own slice")
        _line(accuracy, combined, "frame_accuracy", 100.0, color=RED, marker="s", label="combined model, dev subset")
        accuracy.set_ylabel("frame accuracy (%)")
        accuracy.set_title(title, loc="left")
        legend(accuracy)
        begun = [{**combined[0], "frames_seen": 0}, *combined] if combined else []  # a rate holds for the frames before
        _line(rate, begun, "learning_rate", 1.0, color=BLACK, drawstyle="steps-pre", label="")
        rate.set_ylabel("learning rate")
        rate.set_ylim(bottom=0)
        frames_axis(rate)


def rates(path: str | Path, tried: Rows, start: float | None, config: float, suggestion: float | None) -> None:
    """Objective against learning rate. tried: rows with `rate` and `objective` (None: not finite, drawn as a cross)."""
    with figure(path, 8, 4.4) as (axes,):
        known = [row for row in tried if row["objective"] is not None]
        axes.plot([row["rate"] for row in known], [row["objective"] for row in known], color=BLUE, marker="o")
        failed = [row["rate"] for row in tried if row["objective"] is None]
        if start is not None:
            axes.axhline(start, color=GREY, linestyle=":", label="before training")
            axes.plot(failed, [start] * len(failed), "x", color=RED, label="not finite" if failed else None)
        axes.axvline(config, color=BLACK, linestyle="--", label="the config's rate")
        if suggestion is not None:
            axes.axvline(suggestion, color=GREEN, label="suggestion")
        axes.set_xscale("log")
        axes.set_xlabel("learning rate, per summed gradient")
        axes.set_ylabel("dev objective (nats per frame)")
        legend_below(axes)


def word_error_rates(path: str | Path, systems: Rows) -> None:
    """Bars of the test WER with 95 % intervals, and the dev WER. systems: objects of wer.json, each with a `name`."""
    with figure(path, 8, 1.3 + 0.5 * len(systems)) as (axes,):
        at = list(range(len(systems)))
        rates = [100 * system["wer"] for system in systems]
        limits = [[100 * limit for limit in system["ci95"]] for system in systems]
        spread = [
            [max(0.0, r - low) for r, (low, _) in zip(rates, limits, strict=True)],
            [max(0.0, high - r) for r, (_, high) in zip(rates, limits, strict=True)],
        ]
        axes.barh(at, rates, 0.6, color=SKY, label="test")
        axes.errorbar(rates, at, xerr=spread, fmt="none", ecolor=BLACK, capsize=4, label="95 % interval (test)")
        dev = [(100 * s["dev_wer"], i) for i, s in enumerate(systems) if s["dev_wer"] is not None]
        if dev:
            axes.plot(*zip(*dev, strict=True), "D", color=RED, label="dev, at its best setting")
        edge = max([high for _, high in limits] + [x for x, _ in dev])
        for i, rate in enumerate(rates):
            axes.text(edge * 1.03, i, f"{rate:.2f} %", va="center")
        axes.set_yticks(at, [system["name"] for system in systems])
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlim(0, max(edge * 1.15, 1e-3))
        axes.set_xlabel("word error rate (%)")
        legend_below(axes)


def alignment(path: str | Path, courses: Mapping[str, Rows], alignments: Mapping[str, Mapping[str, Any]]) -> None:
    """Course of the HMM training, and how many utterances could be aligned."""
    with figure(path, 10, 4, panels=2, width_ratios=[3, 2]) as (course, counts):
        for (name, rows), color, marker in zip(courses.items(), (BLUE, RED, GREEN), "os^", strict=False):
            known = [row for row in rows if row.get("log_likelihood_per_frame") is not None]
            y = [row["log_likelihood_per_frame"] for row in known]
            course.plot([row["iteration"] for row in known], y, marker=marker, markersize=4, color=color, label=name)
        course.set_xlabel("iteration of the HMM training")
        course.xaxis.set_major_locator(MaxNLocator(integer=True))
        course.set_ylabel("log-likelihood of a frame (nats)")
        legend(course)
        rows = [(f"{name} {split}", report) for name, splits in alignments.items() for split, report in splits.items()]
        _alignment_bars(counts, rows)


def times(path: str | Path, stages: Sequence[Sequence[Any]], phases: Mapping[str, Mapping[str, float]]) -> None:
    """Seconds of each stage (name, jobs, clock, CPU), and what the workers of each run spent theirs on.

    phases: run -> phase (a key of PHASES) -> seconds summed over its workers.
    """
    height = 1.8 + 0.4 * max(len(stages), len(phases))
    with figure(path, 10, height, panels=2, width_ratios=[1, 1]) as (bars, split):
        at = range(len(stages))
        bars.barh([i - 0.2 for i in at], [stage[2] for stage in stages], 0.4, color=BLUE, label="by the clock")
        bars.barh([i + 0.2 for i in at], [stage[3] for stage in stages], 0.4, color=ORANGE, label="CPU")
        bars.set_yticks(list(at), [f"{stage[0]} ({stage[1]} job{'s' if stage[1] != 1 else ''})" for stage in stages])
        bars.set_xlabel("seconds, summed over the jobs of a stage")
        bars.set_title("Time per stage", loc="left")
        _note_if_empty(bars, stages, "no benchmark files")
        left = dict.fromkeys(phases, 0.0)
        for phase, color in PHASES.items():
            seconds = [phases[run].get(phase, 0.0) for run in phases]
            split.barh(range(len(phases)), seconds, 0.5, left=list(left.values()), color=color, label=phase)
            left = {run: start + more for (run, start), more in zip(left.items(), seconds, strict=True)}
        split.set_yticks(range(len(phases)), list(phases))
        split.set_ylim(-0.7, max(len(phases), 5) - 0.3)
        split.set_xlabel("seconds, summed over workers and iterations")
        split.set_title("Training: what workers spent it on", loc="left")
        _note_if_empty(split, phases, "no runs")
        for axes in (bars, split):
            axes.invert_yaxis()
            axes.grid(False, axis="y")
            legend_below(axes)


def _worker_points(axes: Axes, workers: Rows, field: str, scale: float, label: str) -> None:
    names = sorted({row["worker"] for row in workers})
    for name in names:
        rows = [row for row in workers if row["worker"] == name and not row.get("rejected")]
        first = name == names[0]
        style = {"color": GREY, "linewidth": 0.8, "marker": ".", "markersize": 4}
        _line(axes, rows, field, scale, label=label if first else "", **style)
    rejected = [row for row in workers if row.get("rejected")]
    if rejected:
        # An objective that is not finite has no place on the axis: marked at its foot.
        x = [row["frames_seen"] for row in rejected]
        axes.plot(x, [0.02] * len(x), "x", color=BLACK, transform=axes.get_xaxis_transform(), label="rejected worker")


def _line(axes: Axes, rows: Rows, field: str, scale: float, **style: Any) -> None:
    known = [row for row in rows if row.get(field) is not None]
    if known:
        style = {"markersize": 4 if len(known) < 60 else 0, **style}
        axes.plot([row["frames_seen"] for row in known], [scale * row[field] for row in known], **style)


def _alignment_bars(axes: Axes, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    at, left = range(len(rows)), [0] * len(rows)
    retried = [report.get("retried", 0) for _, report in rows]
    parts = [
        ("aligned", [r["aligned"] - again for (_, r), again in zip(rows, retried, strict=True)], BLUE),
        ("aligned with the wider beam", retried, ORANGE),
        ("failed", [len(report["failed"]) for _, report in rows], RED),
    ]
    for label, values, color in parts:
        axes.barh(at, values, 0.5, left=left, color=color, label=label)
        left = [start + more for start, more in zip(left, values, strict=True)]
    for i, total in enumerate(left):
        axes.text(total, i, f" {parts[2][1][i]:,} failed", va="center", fontsize=8)
    axes.set_yticks(at, [name for name, _ in rows])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.set_xlabel("utterances")
    legend_below(axes)


def frames_axis(axes: Axes) -> None:
    """Label the horizontal axis as frames."""
    axes.set_xlabel("training frames seen by all workers")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlim(left=0)


def legend(axes: Axes) -> None:
    """Name the lines in the corner where learning curves leave room."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


def legend_below(axes: Axes, title: str = "") -> None:
    """Name what is drawn under the axis's label, in up to three columns, as many as are no wider than the axes."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = axes.figure
    if handles and drawn is not None:
        room = axes.get_window_extent()
        width, height = room.width / drawn.dpi, room.height / drawn.dpi
        letters = max(len(line) for label in labels for line in label.splitlines())
        columns = int(width / (0.6 + 0.08 * letters))  # inches of a sign and of a letter
        place = (0.5, -0.6 / height)  # 0.6 inches for the axis's label
        axes.legend(loc="upper center", bbox_to_anchor=place, ncols=max(1, min(3, columns)), title=title or None)


def make_room(drawn: Sequence[Axes]) -> None:
    """Make a figure higher by what the tallest legend below its axes takes beyond one of three lines."""
    whole = drawn[0].figure
    legends = [legend for axes in drawn if (legend := axes.get_legend()) is not None]
    if isinstance(whole, Figure) and legends:
        tallest = max(legend.get_window_extent().height for legend in legends) / whole.dpi  # inches
        whole.set_figheight(whole.get_figheight() + max(0.0, tallest - 0.6))


def _note_if_empty(axes: Axes, content: Any, note: str) -> None:
    if not content:
        axes.text(0.5, 0.5, note, ha="center", transform=axes.transAxes)
