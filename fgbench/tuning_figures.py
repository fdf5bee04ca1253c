"""Trials' scores by rate go in; charts of sensitivity, divergence, ratios of rates and shared rates come out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fgbench.svg import INK, THIRD, Style, drawing, inlined, name_ticks, of_method, put_ticks, rows_of
from fgbench.types import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Floats: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Literal["score", "last"]

DEEPEST, TALLEST = 10.0, 100.0
"""How far below the least score a chart reaches, and above: a loss beyond is drawn at the upper edge."""


@dataclass(frozen=True)
class Sensitivity:
    """A method's trials: `rates` [rates], the lowest first, and losses [rates, seeds], inf where a trial diverged.

    `score` is a trial's mean over its records of the least validation loss so far, `last` its last one; `chosen` and
    `predicted` are rates, NaN where there is none.
    """

    method: str
    rates: Floats
    score: Floats
    last: Floats
    chosen: float
    predicted: float

    @property
    def diverged(self) -> Floats:
        """The share of a rate's trials that diverged."""
        share: Floats = np.isinf(self.score).mean(axis=1)
        return share


@dataclass(frozen=True)
class RateRatio:
    """How many times a method's rate the baseline's is: as chosen, as predicted for its model, and by the law.

    `grain` is the factor from one rate of the grid to the next: a chosen rate is known no better.
    """

    method: str
    chosen: float
    predicted: float
    law: float
    grain: float


@dataclass(frozen=True)
class SharedRate:
    """A method and the baseline, each at its own rate and each at the other's: mean scores, inf where one diverged."""

    method: str
    baseline: str
    own: float
    baseline_own: float
    at_baselines: float
    baseline_at_methods: float
    text: str


def sensitivity_chart(
    drawn: Sequence[Sensitivity],
    *,
    loss: Loss,
    styles: Mapping[str, Style],
    limits: tuple[float, float, float, float],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of a loss against rates, both logarithmic: a line the mean over seeds, every trial a faint dot.

    The chosen rate is ringed, the predicted optimum a tick at the lower edge; a rate at which a trial diverged is a
    cross at the upper edge. `limits` are the least and greatest rate and loss, as `sensitivity_limits` gives them, so
    that the charts of one experiment can be compared.
    """
    left, right, low, high = limits
    with drawing(key, height=2.9, width=THIRD) as figure:
        axes = figure.add_axes((0.14, 0.15, 0.83, 0.74))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left / 1.5, right * 1.5)
        axes.set_ylim(low / 1.15, high * 1.15)
        name_ticks(axes.yaxis, low, high)
        _name_rates(axes.xaxis, left, right)
        for one in drawn:
            with of_method(axes, one.method):
                _draw_sensitivity(axes, one, getattr(one, loss), styles[one.method], high * 1.15)
        axes.set_title(_LOSSES[loss], loc="left")
        axes.set_xlabel("learning rate")
        return inlined(figure, key, title, description)


def sensitivity_limits(drawn: Sequence[Sensitivity]) -> tuple[float, float, float, float]:
    """Return the least and greatest rate, and the least and greatest loss to be shown, of some methods.

    Losses are shown about the least score: a last loss of next to nothing would leave no room for them.
    """
    rates = np.concatenate([one.rates for one in drawn])
    scores = _finite(one.score for one in drawn)
    both = np.concatenate([scores, _finite(one.last for one in drawn)])
    least, high = (float(scores.min()), float(both.max())) if len(scores) else (0.1, 1.0)
    low = max(float(both.min()), least / DEEPEST) if len(both) else least
    return float(rates.min()), float(rates.max()), low, min(max(high, 1.5 * least), TALLEST * least)


def diverged_chart(
    drawn: Sequence[Sensitivity],
    *,
    styles: Mapping[str, Style],
    limits: tuple[float, float, float, float],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of the share of diverged trials against the rate, on the axis of `sensitivity_chart`."""
    left, right, *_ = limits
    with drawing(key, height=2.9, width=THIRD) as figure:
        axes = figure.add_axes((0.14, 0.15, 0.83, 0.74))
        axes.set_xscale("log")
        axes.set_xlim(left / 1.5, right * 1.5)
        axes.set_ylim(-0.03, 1.03)
        _name_rates(axes.xaxis, left, right)
        _name_shares(axes.yaxis)
        for one in drawn:
            style = styles[one.method]
            line: dict[str, Any] = {
                "color": style.light,
                "linestyle": (0, style.dashes or None),
                "linewidth": 1.7,
            }
            with of_method(axes, one.method):
                axes.plot(one.rates, one.diverged, "o", markersize=3.2, clip_on=False, **line)
        axes.set_title("share of trials that diverged", loc="left")
        axes.set_xlabel("learning rate")
        return inlined(figure, key, title, description)


def rate_ratio_chart(
    ratios: Sequence[RateRatio], *, styles: Mapping[str, Style], key: str, title: str, description: str
) -> str:
    """Return an SVG of ratios of rates against the law's, both logarithmic, with the line where they are equal.

    A dot is the ratio of chosen rates, its bar one step of the grid either way; a ring the ratio of predicted ones.
    Those that would cover each other are moved apart sideways.
    """
    values = [value for one in ratios for value in (one.law, one.chosen / one.grain, one.chosen * one.grain)]
    values += [one.predicted for one in ratios if math.isfinite(one.predicted) and one.predicted > 0]
    low, high = min(values) / 1.5, max(values) * 1.5
    with drawing(key, height=3.6) as figure:
        axes = figure.add_axes((0.14, 0.13, 0.83, 0.79))
        for scale, limit, axis in (
            (axes.set_xscale, axes.set_xlim, axes.xaxis),
            (axes.set_yscale, axes.set_ylim, axes.yaxis),
        ):
            scale("log")
            limit(low, high)
            name_ticks(axis, low, high)
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
        for one, x in zip(ratios, _apart([one.law for one in ratios]), strict=True):
            colour, reach = styles[one.method].light, [one.chosen / one.grain, one.chosen * one.grain]
            with of_method(axes, one.method):
                axes.plot(2 * [x], reach, color=colour, linewidth=1.4)
                axes.plot([x], [one.chosen], "o", color=colour, markersize=6)
                axes.plot([x], [one.predicted], "o", color=colour, markersize=8, markerfacecolor="none")
        axes.set_title("backprop's rate by the method's", loc="left")
        axes.set_xlabel("the law's ratio, 1 + (d + κ − 2) / K")
        return inlined(figure, key, title, description)


def shared_rate_chart(
    shared: Sequence[SharedRate], *, styles: Mapping[str, Style], key: str, title: str, description: str
) -> str:
    """Return an SVG with a row a method: its score (dots) and the baseline's (squares), filled at the own rate.

    Hollow is the score at the other's rate; a line leads there, to an arrow at the axis's end where it diverged.
    """
    values = [
        value
        for one in shared
        for value in (one.own, one.baseline_own, one.at_baselines, one.baseline_at_methods)
        if math.isfinite(value) and value > 0
    ]
    low, high = min(values), min(max(values), TALLEST * min(values))
    low, high = low / 1.15, max(high, 1.5 * low) * 1.35
    with drawing(key, height=0.75 + 0.62 * len(shared)) as figure:
        axes = rows_of(figure, [(one.method, one.text) for one in shared])
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        name_ticks(axes.xaxis, low, high)
        for row, one in enumerate(shared):
            for height, marker, method, own, other in (
                (-row + 0.06, "s", one.baseline, one.baseline_own, one.baseline_at_methods),
                (-row - 0.22, "o", one.method, one.own, one.at_baselines),
            ):
                with of_method(axes, method):
                    _move(axes, height, marker, styles[method].light, own, other)
        axes.set_xlabel("score: mean of the least validation loss so far (nats)")
        return inlined(figure, key, title, description)


def _finite(losses: Iterable[Floats]) -> Floats:
    """Return those of some losses that a logarithmic axis can show."""
    values: Floats = np.concatenate([one.ravel() for one in losses])
    known: Floats = values[np.isfinite(values) & (values > 0)]
    return known


def _apart(values: Sequence[float]) -> list[float]:
    """Return positive values with those nearly equal moved apart, each by a twelfth from the next.

    >>> [round(value, 2) for value in _apart([10.0, 1.0, 10.5])]
    [9.6, 1.0, 10.94]
    """
    near: dict[int, list[int]] = {}
    for place, value in enumerate(values):
        near.setdefault(round(5 * math.log(value)), []).append(place)
    moved = list(values)
    for places in near.values():
        for rank, place in enumerate(places):
            moved[place] *= 1.085 ** (rank - (len(places) - 1) / 2)
    return moved


def _draw_sensitivity(axes: Axes, one: Sensitivity, losses: Floats, style: Style, top: float) -> None:
    colour, mean = style.light, losses.mean(axis=1)
    dots: Json = {"color": colour, "linewidth": 0, "clip_on": False}
    for of_seed in losses.T:
        finite = np.isfinite(of_seed)
        shown = np.minimum(of_seed[finite], top)
        axes.plot(one.rates[finite], shown, "o", markersize=2.6, alpha=0.45, **dots)
    whole = np.isfinite(mean)
    shown = np.where(whole, np.minimum(mean, top), np.nan)
    axes.plot(one.rates, shown, color=colour, linestyle=(0, style.dashes or None), linewidth=1.7)
    broken = one.rates[~whole]
    axes.plot(broken, np.full(len(broken), top), "x", markersize=5, **dots)
    if math.isfinite(one.predicted):
        axes.plot(
            2 * [one.predicted], [0, 0.045], color=colour, linewidth=2.4, transform=axes.get_xaxis_transform()
        )
    if math.isfinite(one.chosen):
        ring = np.minimum(mean[one.rates == one.chosen], top)
        axes.plot([one.chosen], ring, "o", color=colour, markersize=10, markerfacecolor="none", clip_on=False)


def _move(axes: Axes, height: float, marker: str, colour: str, own: float, other: float) -> None:
    """Draw one side of a row: filled at its own rate, hollow (or an arrow) at the other's, a line between."""
    end = axes.get_xlim()[1]
    drawn = min(other, end / 1.06) if not math.isnan(other) else own
    axes.plot([own, drawn], [height, height], color=colour, linewidth=1)
    axes.plot([own], [height], marker, color=colour, markersize=6)
    if not math.isnan(other):
        beyond = other > drawn
        axes.plot(
            [drawn], [height], ">" if beyond else marker, color=colour, markersize=7, markerfacecolor="none"
        )


def _name_rates(axis: Axis, low: float, high: float) -> None:
    """Name a logarithmic axis of rates by powers of ten, over many decades by every other or third."""
    first, last = math.floor(math.log10(low / 1.5)), math.ceil(math.log10(high * 1.5))
    every = math.ceil((last - first + 1) / 7)
    places = [10.0**power for power in range(first, last + 1, every)]
    put_ticks(axis, places, lambda value: _power_text(round(math.log10(value))))


def _power_text(power: int) -> str:
    """Return a power of ten as it is read most easily.

    >>> [_power_text(power) for power in (-6, -3, 0, 2)]
    ['10⁻⁶', '0.001', '1', '100']
    """
    if -4 < power < 4:
        return f"{10.0**power:g}"
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _name_shares(axis: Axis) -> None:
    put_ticks(axis, [0, 0.25, 0.5, 0.75, 1], lambda value: f"{100 * value:.0f} %")


_LOSSES = {
    "score": "score: least validation loss so far (nats)",
    "last": "last validation loss (nats)",
}
