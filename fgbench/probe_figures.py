"""How estimates lie to the true gradient goes in; charts of it along training, and of its spread, come out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from fgbench.statistics import Floats
from fgbench.svg import INK, THIRD, Style, drawing, inlined, name_ticks, of_method, printable, put_ticks
from fgbench.wording import tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NORMAL = [NormalDist().inv_cdf(level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
"""Quantiles of a standard normal number, at the levels that a spread has."""

MOST_TOGETHER = 6
"""Methods up to which all share one panel, in as many colours; of more, each has a small one of its own."""


@dataclass(frozen=True)
class Trace:
    """A quantity of a method's estimates along training, each array [steps]: quantiles and mean over the draws."""

    method: str
    steps: Floats
    low: Floats
    median: Floats
    high: Floats
    mean: Floats
    expected: float | None
    """What theory says of the mean, where it says something."""


@dataclass(frozen=True)
class Spread:
    """A method's directional derivatives at one step: their quantiles, 5, 25, 50, 75 and 95 %."""

    step: int
    quantiles: Sequence[float]


def trace_chart(
    traces: Sequence[Trace],
    *,
    quantity: str,
    styles: Mapping[str, Style],
    reference: float,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of a quantity along training: each method's median a line, 5 to 95 % a band, its mean dots.

    `quantity` is "cosine", "norm_ratio" or "projection"; `reference` is its value of the true gradient, a thin line.
    More than `MOST_TOGETHER` methods have a small panel each, in two columns, with the same axes.
    """
    if len(traces) <= MOST_TOGETHER:
        with drawing(key, height=2.6, width=THIRD) as figure:
            axes = figure.add_axes((0.15, 0.16, 0.82, 0.71))
            _scale(axes, traces, quantity, reference)
            for one in traces:
                with of_method(axes, one.method):
                    _draw(axes, one, styles[one.method], reference)
            axes.set_title(_TITLES[quantity], loc="left")
            axes.set_xlabel("steps")
            return inlined(figure, key, title, description)
    rows = math.ceil(len(traces) / 2)
    with drawing(key, height=0.5 + 0.95 * rows) as figure:
        figure.text(0.02, 1 - 0.2 / figure.get_figheight(), _TITLES[quantity], fontsize=10.5, weight="bold")
        for place, one in enumerate(traces):
            axes = _small(figure, place, rows)
            _scale(axes, traces, quantity, reference)
            with of_method(axes, one.method):
                _draw(axes, one, styles[one.method], reference)
            axes.text(0, 1.06, printable(one.method, longest=31), transform=axes.transAxes, fontsize=8.5)
            axes.tick_params(labelsize=8)
            if place % 2:
                axes.set_yticklabels([])
            if place < len(traces) - 2:
                axes.set_xticklabels([])
        return inlined(figure, key, title, description)


def spread_chart(
    spreads: Mapping[str, Sequence[Spread]],
    *,
    styles: Mapping[str, Style],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of how directional derivatives spread: a row a method, in it one box a step, the first above.

    A box reaches from 25 to 75 %, its line from 5 to 95 %; grey lines are these quantiles of a standard normal number.
    """
    height = 0.62 + 0.56 * len(spreads)
    with drawing(key, height=height) as figure:
        margin = 0.45 / height
        axes = figure.add_axes((0.03, margin, 0.94, 1 - margin - 0.02))
        for value in NORMAL:
            for row in range(len(spreads)):
                axes.plot(
                    [value, value],
                    [-row - 0.36, -row + 0.24],
                    color=INK,
                    linewidth=0.8,
                    linestyle=(0, (2, 3)),
                    alpha=0.6,
                )
        for row, (method, boxes) in enumerate(spreads.items()):
            place_of_text: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 9.5}
            with of_method(axes, method):
                axes.text(0, -row + 0.3, printable(method, longest=58), **place_of_text)
                for place, one in enumerate(boxes):
                    _box(axes, -row + 0.14 - 0.19 * place, one, styles[method].light)
        reach = max(
            (abs(value) for boxes in spreads.values() for one in boxes for value in one.quantiles), default=0
        )
        axes.set_xlim(-max(2.0, 1.1 * reach), max(2.0, 1.1 * reach))
        axes.set_ylim(-len(spreads) + 0.5, 0.72)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("∇f·v / ‖∇f‖")
        return inlined(figure, key, title, description)


def _box(axes: Axes, y: float, one: Spread, colour: str) -> None:
    q05, q25, q50, q75, q95 = one.quantiles
    axes.plot([q05, q95], [y, y], color=colour, linewidth=1.2)
    axes.barh(y, q75 - q25, left=q25, height=0.12, color=colour, alpha=0.35, edgecolor=colour, linewidth=0.9)
    axes.plot([q50, q50], [y - 0.07, y + 0.07], color=colour, linewidth=1.8)


def _small(figure: Figure, place: int, rows: int) -> Axes:
    """Return the axes of one of many panels, in two columns, `place` counted along the rows."""
    height, column, row = figure.get_figheight(), place % 2, place // 2
    bottom = (0.3 + 0.95 * (rows - 1 - row)) / height
    return figure.add_axes((0.12 + 0.46 * column, bottom, 0.4, 0.62 / height))


def _draw(axes: Axes, one: Trace, style: Style, reference: float) -> None:
    axes.axhline(reference, color=INK, linewidth=0.7, alpha=0.6)
    if one.expected is not None:
        axes.axhline(one.expected, color=style.light, linewidth=0.9, linestyle=(0, (1, 3)))
    axes.fill_between(one.steps, one.low, one.high, color=style.light, alpha=0.16, linewidth=0)
    axes.plot(one.steps, one.median, color=style.light, linestyle=(0, style.dashes or None), linewidth=1.7)
    axes.plot(one.steps, one.mean, "o", color=style.light, markersize=2.8, linestyle="none", clip_on=False)


def _scale(axes: Axes, traces: Sequence[Trace], quantity: str, reference: float) -> None:
    """Scale both axes as all of these need it, whichever of them is drawn."""
    _scale_steps(axes, traces)
    values = np.concatenate([[reference], *(np.concatenate([one.low, one.high, one.mean]) for one in traces)])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    if quantity == "norm_ratio" and low > 0:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.4)
        name_ticks(axes.yaxis, low / 1.4, high * 1.4)
        return
    typical = np.abs(np.concatenate([one.mean for one in traces]))
    least = float(typical[typical > 0].min()) if (typical > 0).any() else 1.0
    if max(high, -low) > 12 * least:
        _symmetric(axes, low, high, least, few_ticks=len(traces) > MOST_TOGETHER)
    else:
        reach = high - low or 1.0
        axes.set_ylim(min(0.0, low - 0.04 * reach), high + 0.06 * reach)


def _symmetric(axes: Axes, low: float, high: float, least: float, *, few_ticks: bool) -> None:
    """Make the y axis logarithmic beyond `least`, up and down, and name its decades, or the ends of them."""
    greatest = 1.3 * max(high, -low)
    lowest = math.floor(math.log10(max(least, greatest / _MOST_DECADES)))
    axes.set_yscale("symlog", linthresh=10.0**lowest, linscale=0.5)
    decades = [10.0**power for power in range(lowest, math.floor(math.log10(greatest)) + 1)]
    if few_ticks:
        decades = sorted({*decades[1:2], *decades[-1:]})
    ticks = [0.0, *decades, *(-decade for decade in decades if -low > decade)]
    put_ticks(axes.yaxis, sorted(ticks), lambda value: tick_text(value).replace("-", "−"))
    axes.set_ylim(1.2 * low if low < 0 else 0.0, 1.3 * high)


def _scale_steps(axes: Axes, traces: Sequence[Trace]) -> None:
    """Make the x axis logarithmic from the first step looked at, and linear below."""
    later = np.concatenate([one.steps[one.steps > 0] for one in traces])
    if not later.size:
        return
    first, last = float(later.min()), float(later.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.35)
    decades = range(math.ceil(math.log10(first) - 1e-9), math.floor(math.log10(last) + 1e-9) + 1)
    put_ticks(axes.xaxis, [0, *(10.0**decade for decade in decades)])
    axes.set_xlim(0, last * 1.05)


_MOST_DECADES = 1e4
"""Ratio of values beyond which the smaller are drawn as next to nothing."""

_TITLES = {
    "cosine": "cosine to the gradient",
    "norm_ratio": "‖g‖ / ‖∇f‖",
    "projection": "g·∇f / ‖∇f‖²",
}
