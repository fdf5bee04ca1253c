"""Measured times and memory go in; charts of ratios, parts, growth and times to a target come out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.svg import INK, PART_PALETTE, Style, drawing, inlined, name_ticks, of_method, put_ticks, rows_of
from fgbench.wording import bytes_text, percent_text, seconds_text, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Floats: TypeAlias = NDArray[np.float64]

PARTS = ("draw", "estimate", "product", "update")
"""Parts of a step, in the order in which they are drawn and coloured."""

POINTS_SHOWN = 60
"""Rounds drawn at most, evenly chosen; the table `blocks` has them all."""


@dataclass(frozen=True)
class Ratio:
    """A method's step time as a multiple of the baseline's, each round's [rounds], and what is claimed of it."""

    method: str
    rounds: Floats
    ratio: float
    low: float
    high: float
    floor: float
    verdict: str
    text: str


@dataclass(frozen=True)
class Bar:
    """A method's step, seconds: its parts, one after the other, its whole each round [rounds], and their median."""

    method: str
    parts: Mapping[str, float]
    rounds: Floats
    step_time_s: float
    text: str

    @property
    def whole_s(self) -> float:
        """All parts together, seconds: near the step's own time if the machine was quiet."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Growth:
    """A quantity of a method's step over the sizes of a ladder: every point, and its power law's exponent."""

    method: str
    sizes: Floats
    values: Floats
    exponent: float


@dataclass(frozen=True)
class Arrival:
    """A method's times to the target: of the runs that reached it, and the median of all with its interval."""

    method: str
    runs_s: Floats
    median_s: float
    low: float
    high: float
    text: str


def ratio_chart(
    ratios: Sequence[Ratio],
    *,
    styles: Mapping[str, Style],
    limit: float,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of step times as multiples of the baseline's, on a logarithmic axis symmetric around 1.

    Each round is a dot, the median a bar with its interval; behind them lies the noise floor, within which a
    step may differ from itself. The axis ends at `limit` and 1 / `limit`.
    """
    with drawing(key, height=_height(len(ratios))) as figure:
        axes = rows_of(figure, [(one.method, one.text) for one in ratios])
        axes.set_xscale("log")
        axes.set_xlim(1 / limit, limit)
        _name_ratio_ticks(axes.xaxis, limit)
        for row, one in enumerate(ratios):
            with of_method(axes, one.method):
                _draw_ratio(axes, row, one, styles[one.method].light)
        axes.set_xlabel("faster ← time of a step → slower")
        return inlined(figure, key, title, description)


def ratio_limit(ratios: Sequence[Ratio]) -> float:
    """Return where the axis of `ratio_chart` ends so that it shows all of these, and a third beside 1 at least."""
    values = [[*one.rounds, one.ratio, one.low, one.high, one.floor] for one in ratios]
    known = np.array([value for one in values for value in one if math.isfinite(value) and value > 0])
    farthest = float(np.exp(np.abs(np.log(known)).max())) if len(known) else 1.0
    return max(1.3, math.pow(farthest, 1.06))


def parts_chart(bars: Sequence[Bar], *, key: str, title: str, description: str) -> str:
    """Return an SVG of where the time of a step goes: its parts stacked, and the whole step's rounds below them.

    Parts are timed apart, so that they need not add up to the whole step, whose median is a line across the bar. A
    round that took far longer than anything else is drawn at the axis's end.
    """
    longest = max(max(one.whole_s, one.step_time_s) for one in bars)
    end = min(max(longest, *(one.rounds.max(initial=0.0) for one in bars)), 1.5 * longest)
    with drawing(key, height=_height(len(bars))) as figure:
        axes = rows_of(figure, [(one.method, one.text) for one in bars])
        unit, scale = ("ms", 1e3) if longest >= 1e-3 else ("µs", 1e6)
        for row, one in enumerate(bars):
            with of_method(axes, one.method):
                _draw_bar(axes, row, one, scale, end)
        axes.set_xlim(0, end * scale * 1.04)
        axes.set_xlabel(f"time of a step ({unit})")
        return inlined(figure, key, title, description)


def growth_chart(
    growths: Sequence[Growth],
    *,
    quantity: str,
    axis: str,
    styles: Mapping[str, Style],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of how a quantity grows with a size: every point, and the line of each method's power law.

    Both axes are logarithmic. `quantity` is "step_time_s" or "peak_memory_bytes", `axis` the size's name.
    """
    with drawing(key, height=2.75) as figure:
        axes = figure.add_axes((0.15, 0.15, 0.82, 0.73))
        _scale(axes, growths, quantity)
        for one in growths:
            with of_method(axes, one.method):
                _draw_growth(axes, one, styles[one.method])
        axes.set_title(
            {"step_time_s": "time of a step", "peak_memory_bytes": "peak memory"}[quantity], loc="left"
        )
        axes.set_xlabel(axis)
        return inlined(figure, key, title, description)


def target_chart(
    arrivals: Sequence[Arrival],
    *,
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of the times to the target: each run that reached it a dot, the median a bar with its interval.

    A median that is infinite, half the runs or more having missed the target, is an arrow at the axis's end.
    `limits` (seconds) are the axis's ends, so that the charts of several experiments can be compared.
    """
    low, high = limits[0] / 1.4, limits[1] * 1.8
    with drawing(key, height=_height(len(arrivals))) as figure:
        axes = rows_of(figure, [(one.method, one.text) for one in arrivals])
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        name_ticks(axes.xaxis, low, high)
        for row, one in enumerate(arrivals):
            with of_method(axes, one.method):
                _draw_arrival(axes, row, one, styles[one.method].light, high)
        axes.set_xlabel("time to the target (s), steps alone")
        return inlined(figure, key, title, description)


def _draw_ratio(axes: Axes, row: int, one: Ratio, colour: str) -> None:
    axes.plot([1, 1], [-row - 0.34, -row + 0.24], color=INK, linewidth=0.8)
    if math.isfinite(one.floor):
        band = [-row - 0.3, -row + 0.22]
        axes.fill_betweenx(band, 1 / one.floor, one.floor, color=INK, alpha=0.16, linewidth=0)
    rounds = _thinned(one.rounds)
    axes.plot(rounds, _scattered(row, len(rounds)), "o", color=colour, markersize=2.6, alpha=0.6)
    _mark(axes, row, one.ratio, one.low, one.high)


def _draw_bar(axes: Axes, row: int, one: Bar, scale: float, end: float) -> None:
    _stack(axes, row, one, scale, end * scale)
    rounds = np.minimum(_thinned(one.rounds), end) * scale
    axes.plot(rounds, np.full(len(rounds), -row - 0.27), "o", color=INK, markersize=1.7, alpha=0.5)
    axes.plot(2 * [one.step_time_s * scale], [-row - 0.3, -row + 0.24], color=INK, linewidth=1.8)


def _draw_growth(axes: Axes, one: Growth, style: Style) -> None:
    axes.plot(one.sizes, one.values, "o", color=style.light, markersize=3, alpha=0.6, clip_on=False)
    axes.plot(*_power_law(one), color=style.light, linestyle=(0, style.dashes or None), linewidth=1.7)


def _draw_arrival(axes: Axes, row: int, one: Arrival, colour: str, high: float) -> None:
    runs = _thinned(one.runs_s)
    axes.plot(runs, _scattered(row, len(runs)), "o", color=colour, markersize=3.2, alpha=0.7)
    _mark(axes, row, one.median_s, one.low, one.high)
    if math.isinf(one.median_s):
        axes.plot([high / 1.15], [-row - 0.04], ">", color=INK, markersize=6, clip_on=False)


def _height(num_rows: int) -> float:
    return 0.62 + 0.5 * num_rows


def _mark(axes: Axes, row: int, value: float, low: float, high: float) -> None:
    """Draw a median as a bar, and its interval, where it has one, as a line through it."""
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [-row - 0.04] * 2, color=INK, linewidth=1.4)
    if math.isfinite(value):
        axes.plot([value, value], [-row - 0.24, -row + 0.16], color=INK, linewidth=1.8)


def _scattered(row: int, number: int) -> Floats:
    """Return heights about a row's middle, in the order of the rounds: a drift is seen as a slope."""
    return np.linspace(0.16, -0.16, number) - row - 0.04 if number > 1 else np.full(number, -row - 0.04)


def _thinned(values: Floats) -> Floats:
    if len(values) <= POINTS_SHOWN:
        return values
    shown: Floats = values[np.linspace(0, len(values) - 1, POINTS_SHOWN).astype(int)]
    return shown


def _stack(axes: Axes, row: int, one: Bar, scale: float, longest: float) -> None:
    start = 0.0
    for place, part in enumerate(PARTS):
        width = one.parts.get(part, 0.0) * scale
        if not width:
            continue
        axes.barh(
            -row, width, left=start, height=0.36, color=PART_PALETTE[place][0], edgecolor=INK, linewidth=0.7
        )
        if width > 0.11 * longest:
            share = percent_text(one.parts[part] / one.whole_s)
            axes.text(start + width / 2, -row - 0.01, share, ha="center", va="center", fontsize=9)
        start += width


def _scale(axes: Axes, growths: Sequence[Growth], quantity: str) -> None:
    """Make both axes logarithmic, as far as the points reach and a little further, a flat quantity in their middle."""
    sizes = np.unique(np.concatenate([one.sizes for one in growths]))
    values = np.concatenate([one.values for one in growths])
    low, high = float(values.min()) / 1.3, float(values.max()) * 1.3
    if high < 4 * low:
        low, high = low / 1.5, high * 1.5
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(sizes[0] / 1.12, sizes[-1] * 1.12)
    axes.set_ylim(low, high)
    _name_sizes(axes.xaxis, sizes)
    _name_values(axes.yaxis, low, high, quantity)


def _power_law(one: Growth) -> tuple[Floats, Floats]:
    """Return the ends of the least-squares line, which passes through the mean of the medians' logarithms."""
    medians = pd.Series(one.values).groupby(one.sizes).median()
    sizes = np.asarray(medians.index, dtype=np.float64)
    values = np.asarray(medians, dtype=np.float64)
    if not math.isfinite(one.exponent):
        return sizes, values
    ends = sizes[[0, -1]]
    return ends, np.exp(np.log(values).mean() + one.exponent * (np.log(ends) - np.log(sizes).mean()))


def _name_ratio_ticks(axis: Axis, limit: float) -> None:
    chosen = next(factors for most, factors in _RATIO_TICKS if limit <= most)
    ticks = {1.0: "1×"}
    for factor, below in chosen.items():
        if factor <= limit:
            ticks |= {factor: f"{factor:g}×", 1 / factor: f"{below}×"}
    put_ticks(axis, sorted(ticks), ticks.__getitem__)


def _name_sizes(axis: Axis, sizes: Floats) -> None:
    """Name each size that was measured."""
    put_ticks(axis, sizes.tolist(), lambda value: tick_text(round(value)))


def _name_values(axis: Axis, low: float, high: float, quantity: str) -> None:
    """Name a logarithmic axis's ticks with their units."""
    name_ticks(axis, low, high, seconds_text if quantity == "step_time_s" else bytes_text)


_RATIO_TICKS: tuple[tuple[float, Mapping[float, str]], ...] = (
    (1.6, {1.25: "⅘", 1.5: "⅔"}),
    (2.2, {1.5: "⅔", 2.0: "½"}),
    (6.0, {2.0: "½", 4.0: "¼"}),
    (12.0, {2.0: "½", 4.0: "¼", 8.0: "⅛"}),
    (90.0, {4.0: "¼", 16.0: "1/16", 64.0: "1/64"}),
    (math.inf, {10.0**power: f"1/{10**power}" for power in (1, 2, 3, 4, 5)}),
)
"""Ratios that an axis names, and their inverses, up to the limit that stands before them."""
