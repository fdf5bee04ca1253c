"""What each seed's run spent to reach the target goes in; a chart comes out: the seeds paired, their ratio beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fgbench.svg import (
    GROUND,
    INK,
    Style,
    between_methods,
    drawing,
    inlined,
    name_ticks,
    of_method,
    printable,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A method's runs, one a seed in the order of the seeds: what each spent, [seeds], a miss as ∞, no run as NaN.

    `ratio` is what is claimed of it against the baseline's, NaN where nothing is; `text` and `ratio_text` stand
    above.
    """

    method: str
    style: Style
    spent: Floats
    text: str
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    ratio_text: str = ""


def answer_chart(
    lines: Sequence[Line], *, baseline: str, label: str, key: str, title: str, description: str
) -> str:
    """Return an SVG with a row a method: each seed a point, joined to its own in the row above; beside it the ratio.

    A run that missed the target is an arrow at the axis's end. `baseline`, the method in the first row or none, is
    what ratios are against. Both axes are logarithmic.
    """
    height = 0.62 + 0.58 * len(lines)
    with drawing(key, height=height, width=3.7) as figure:
        bottom = 0.5 / height
        is_compared = any(math.isfinite(line.ratio) or line.ratio_text for line in lines)
        runs = figure.add_axes((0.03, bottom, _RUNS if is_compared else 0.94, 1 - bottom - 0.01))
        _draw_runs(runs, lines, label)
        if is_compared:
            _draw_ratios(figure.add_axes((0.67, bottom, _RATIOS, 1 - bottom - 0.01)), lines, baseline)
        return inlined(figure, key, title, description)


def _draw_runs(axes: Axes, lines: Sequence[Line], label: str) -> None:
    low, high = _ends(np.concatenate([line.spent for line in lines]))
    _frame(axes, lines, low, high, label, room=_RUNS)
    places = [np.clip(line.spent, low, high) for line in lines]
    heights = [_height(row) + np.linspace(0.09, -0.09, len(line.spent)) for row, line in enumerate(lines)]
    for row, line in enumerate(lines):
        if row:
            with between_methods(axes, lines[row - 1].method, line.method):
                ends = [places[row - 1], places[row]], [heights[row - 1], heights[row]]
                axes.plot(*ends, color=INK, alpha=0.28, linewidth=0.7)
        with of_method(axes, line.method):
            _draw_points(axes, line, places[row], heights[row])
            _write(axes, 0.0, row, line.text)


def _draw_points(axes: Axes, line: Line, places: Floats, heights: Floats) -> None:
    points: dict[str, Any] = {"color": line.style.light, "linestyle": "none", "clip_on": False}
    arrived, missed = np.isfinite(line.spent), np.isinf(line.spent)
    axes.plot(places[arrived], heights[arrived], "o", markersize=4, **points)
    axes.plot(places[missed], heights[missed], ">", markersize=4.5, markerfacecolor="none", **points)


def _draw_ratios(axes: Axes, lines: Sequence[Line], baseline: str) -> None:
    known = np.array([value for line in lines for value in (line.ratio, line.low, line.high)] + [1.0])
    low, high = _ends(known)
    _frame(axes, lines, low, high, printable(f"× {baseline}", longest=20), room=_RATIOS)
    axes.axvline(1.0, color=INK, linewidth=0.9)
    for row, line in enumerate(lines):
        with of_method(axes, line.method):
            interval: dict[str, Any] = {"color": line.style.light, "linewidth": 1.8}
            axes.plot([line.low, line.high], [_height(row)] * 2, **interval)
            axes.plot([line.ratio], [_height(row)], "D", color=line.style.light, markersize=4.5)
            _write(axes, 1.0, row, line.ratio_text, align="right")


def _frame(axes: Axes, lines: Sequence[Line], low: float, high: float, label: str, *, room: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    name_ticks(axes.xaxis, low, high, room=room)
    axes.set_ylim(-len(lines) + 0.55, 0.62)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)


def _write(axes: Axes, x: float, row: int, text: str, *, align: str = "left") -> None:
    ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 1.0}
    place = axes.get_yaxis_transform()
    if text:
        axes.text(x, -row + 0.26, text, transform=place, fontsize=9, ha=align, bbox=ground)


def _height(row: int) -> float:
    return -row - 0.04


def _ends(values: Floats) -> tuple[float, float]:
    """Return where a logarithmic axis ends that holds these values."""
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return 0.5, 2.0
    reach = max((known.max() / known.min()) ** 0.06, 1.15)
    return float(known.min() / reach), float(known.max() * reach)


_RUNS, _RATIOS = 0.57, 0.3
"""Shares of the chart's width."""
