"""Comparisons with their intervals go in; a forest plot, or their tally, comes out: an <svg> element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fgbench.judgements import AGAINST, FOR, OPEN, Measured
from fgbench.svg import INK, drawing, inlined, of_method, printable, put_ticks
from fgbench.wording import joined, number_text, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROWS_DRAWN = 12
"""Comparisons drawn at most; the table beside the chart has them all."""

SAYS = {"better": FOR, "worse": AGAINST, "not resolved": OPEN}
"""What a verdict on a paired comparison says, to claim that what is compared is the better."""

MARKS = {FOR: "●", AGAINST: "×", OPEN: "○"}
"""How a comparison is marked by what it says to the claim."""


@dataclass(frozen=True)
class Tally:
    """A claim in a line: what stands above the first of several, its name, what each comparison says to it."""

    heading: str
    name: str
    says: Sequence[str]


def marks_text(words: Mapping[str, str], found: Sequence[Measured]) -> str:
    """Return what each mark that is drawn of these comparisons means, by the `words` for what they say.

    >>> marks_text({FOR: "better", OPEN: "open"}, [Measured("", "", 1.0, 0.9, 1.1, 0.5, OPEN)])
    '○ open'
    """
    return joined(
        [f"{MARKS[says]} {text}" for says, text in words.items() if says in {one.says for one in found}]
    )


def tally_chart(tallies: Sequence[Tally], *, key: str, title: str, description: str) -> str:
    """Return an SVG with a line a claim: its name, and the mark of what each comparison says to it."""
    headings = [not row or one.heading != tallies[row - 1].heading for row, one in enumerate(tallies)]
    bottoms = np.cumsum([1 + 1.4 * heading for heading in headings])
    height = 0.1 + 0.25 * float(bottoms[-1])
    with drawing(key, height=height) as figure:
        axes = figure.add_axes((0.02, 0.0, 0.96, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(-float(bottoms[-1]) - 0.2, 0.2)
        for one, bottom, heading in zip(tallies, -bottoms, headings, strict=True):
            if heading:
                axes.text(0, float(bottom) + 1.25, printable(one.heading), fontsize=9.5, weight="bold")
            axes.text(0, float(bottom) + 0.25, printable(one.name, longest=42), fontsize=9.5)
            _draw_tally(axes, one.says, float(bottom) + 0.45)
        return inlined(figure, key, title, description)


def _draw_tally(axes: Axes, says: Sequence[str], height: float) -> None:
    """Draw what comparisons say to a claim as a row of marks, at most `ROWS_DRAWN` of them, like by like."""
    for place, one in enumerate(sorted(says, key=[*_MARKERS].index)[:ROWS_DRAWN]):
        axes.plot([_TALLY + 0.03 * place], [height], _MARKERS[one], **_MARK, **_face(one))
    if len(says) > ROWS_DRAWN:
        axes.text(1, height - 0.2, f"+{len(says) - ROWS_DRAWN}", fontsize=8.5, ha="right")


def forest_chart(
    found: Sequence[Measured],
    *,
    quantity: str,
    words: Mapping[str, str],
    key: str,
    title: str,
    limits: Sequence[float] = (),
    methods: Sequence[str] = (),
) -> str:
    """Return an SVG of comparisons, one below the other: each figure a mark, its interval a line through it.

    What speaks for the claim is a dot, what speaks against it a cross, what is not resolved a ring; `words` say what
    that means. The whole line is where nothing is different (a number has none), a broken one each of the `limits`.
    Ratios have a logarithmic axis. A row leaves with the method that `methods` name for it, if they do.
    """
    drawn = found[:ROWS_DRAWN]
    is_ratio = drawn[0].scale == "ratio"
    low, high = _ends(drawn, limits)
    headings = [not row or one.where != drawn[row - 1].where for row, one in enumerate(drawn)]
    bottoms = np.cumsum([_ROW + _HEADING * heading for heading in headings])
    height = _AXIS + float(bottoms[-1]) * _INCHES
    with drawing(key, height=height) as figure:
        axes = figure.add_axes((0.03, _AXIS / height, 0.93, 1 - _AXIS / height))
        axes.grid(visible=False)
        axes.set_xscale("log" if is_ratio else "linear")
        axes.set_xlim(low, high)
        axes.set_ylim(-float(bottoms[-1]), 0)
        if is_ratio:
            _name_ratios(axes.xaxis, low, high)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(printable(quantity, longest=60))
        even = {"ratio": [1.0], "difference": [0.0], "number": []}[drawn[0].scale]
        for row, (one, bottom, heading) in enumerate(zip(drawn, -bottoms, headings, strict=True)):
            if heading:
                _write(
                    axes, 0.0, float(bottom) + _ROW + 0.12, printable(one.where, longest=58), weight="bold"
                )
            with of_method(axes, methods[row]) if methods else nullcontext():
                _draw_row(axes, one, float(bottom), even=even, limits=limits)
        listed = "; ".join(f"{one.where}, {one.what}: {one.text} ({words[one.says]})" for one in drawn)
        return inlined(figure, key, title, f"{listed}.")


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write a text above the axis `x` of its width along."""
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), **{"fontsize": 9.5} | style)


def _draw_row(
    axes: Axes, one: Measured, bottom: float, *, even: Sequence[float], limits: Sequence[float]
) -> None:
    """Draw a comparison from `bottom` up: its mark and interval between the lines, above them what it is of."""
    what = printable(one.what, longest=max(_LINE - len(one.text), 16))
    _write(axes, 0.0, bottom + 0.68, what, fontsize=9)
    _write(axes, 1.0, bottom + 0.68, one.text, ha="right")
    band = [bottom + 0.1, bottom + 0.52]
    for x in even:
        axes.plot([x, x], band, color=INK, linewidth=0.9)
    for x in limits:
        axes.plot([x, x], band, color=INK, linewidth=0.9, linestyle=(0, (2.5, 2)))
    middle, (start, end) = bottom + 0.31, axes.get_xlim()
    if math.isfinite(one.low) and math.isfinite(one.high):
        axes.plot([one.low, one.high], [middle, middle], color=INK, linewidth=1.4, solid_capstyle="butt")
    axes.plot(
        [min(max(one.value, start), end)],
        [middle],
        _MARKERS[one.says] if math.isfinite(one.value) else ">",
        **_MARK,
        **_face(one.says),
    )


def _face(says: str) -> dict[str, Any]:
    return {"markerfacecolor": "none" if says == OPEN else INK}


def _ends(drawn: Sequence[Measured], limits: Sequence[float]) -> tuple[float, float]:
    """Return where the axis ends: it holds every figure and interval, every limit, and no difference."""
    values = [value for one in drawn for value in (one.value, one.low, one.high)] + list(limits)
    known = [value for value in values if math.isfinite(value)]
    if drawn[0].scale == "ratio":
        logs = [math.log(value) for value in [*known, 1.0] if value > 0]
        reach = max(0.06 * (max(logs) - min(logs)), 0.05)
        return math.exp(min(logs) - reach), math.exp(max(logs) + reach)
    around = [*known, 0.0]
    reach = max(0.06 * (max(around) - min(around)), 1e-3)
    return min(around) - reach, max(around) + reach


def _name_ratios(axis: Axis, low: float, high: float) -> None:
    put_ticks(axis, _ticks(low, high), lambda value: f"{_tick(value)}×")


def _ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers between two ends of a logarithmic axis: the finest grid that has no more than six."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in _GRIDS:
        ticks = [part * 10.0**decade for decade in decades for part in parts]
        if sum(low <= tick <= high for tick in ticks) <= 6:
            return ticks
    step = math.ceil(len(decades) / 6)
    return [10.0**decade for decade in decades if decade % step == 0]


def _tick(value: float) -> str:
    return tick_text(float(f"{value:.6g}")) if value >= 0.01 else number_text(value)


_MARKERS = {FOR: "o", AGAINST: "x", OPEN: "o"}

_MARK: dict[str, Any] = {"color": INK, "markersize": 6, "markeredgewidth": 1.5, "clip_on": False}

_TALLY = 0.6
"""Where the marks of a tally begin, as a share of its width."""

_LINE = 59
"""Letters in a row's line: what is compared, and its figure."""

_GRIDS = (
    (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
)
"""What a decade is divided by, the finest first."""

_ROW = 1.0
_HEADING = 0.62
_INCHES = 0.4
_AXIS = 0.5
"""Heights: of a row and of a heading above it, in rows; of a row and of what stands below the axis, in inches."""
