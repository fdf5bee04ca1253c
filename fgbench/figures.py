"""Tables of one experiment go in; learning curves and profiles as SVG, and images for the page, come out."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.axes import AXES, Axis
from fgbench.statistics import Profile
from fgbench.svg import INK, THIRD, Style, drawing, inlined, name_ticks, of_method, put_ticks
from fgbench.tidy import worst
from fgbench.wording import tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats: TypeAlias = NDArray[np.float64]

MOST_BANDS = 6
"""Methods up to which their bands are drawn, in as many colours: more would hide each other."""


SEED_POINTS = 60
"""Records drawn of a single seed's run at most; the table `curves` has them all."""


@dataclass(frozen=True)
class Spread:
    """A metric of a cell's runs over the steps that any of them recorded, each array [steps].

    A run that has stopped keeps its last value; one that has diverged counts as the worst from then on.
    """

    steps: Floats
    median: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Course:
    """What a metric does in a method's runs: each seed's recorded steps and values, their spread, how they ended.

    `status` is by seed; `per_step` is, by axis, what a step takes, without those along which that is unknown.
    """

    seeds: Mapping[int, tuple[Floats, Floats]]
    spread: Spread
    status: Mapping[int, str]
    per_step: Mapping[str, float]


def courses(curves: pd.DataFrame, runs: pd.DataFrame, metric: str) -> dict[str, Course]:
    """Return by method what `metric` does; `curves` and `runs` are one experiment's rows of those tables.

    After a run's end its last value stays; from the step at which it diverged on, its loss is infinite and its
    accuracy zero.
    """
    ended = dict(list(runs.groupby("method", sort=False)))
    return {
        str(method): _course(own, ended[method], metric)
        for method, own in curves.groupby("method", sort=False)
    }


def _course(curves: pd.DataFrame, runs: pd.DataFrame, metric: str) -> Course:
    by_seed = runs.set_index("seed")
    diverged_at = by_seed["diverged_at_step"].to_dict()
    seeds = _by_seed(curves, metric)
    grid = np.unique(curves["step"].to_numpy(dtype=float))
    values = np.array([_on_grid(own, grid, metric, diverged_at[seed]) for seed, own in seeds.items()])
    return Course(
        seeds,
        Spread(grid, np.median(values, axis=0), values.min(axis=0), values.max(axis=0)),
        dict(zip(seeds, by_seed["status"].loc[[*seeds]], strict=True)),
        _per_step(curves),
    )


def _per_step(curves: pd.DataFrame) -> dict[str, float]:
    spent = curves[[axis.name for axis in AXES if axis.name in curves]].astype(float)
    last = spent.iloc[int(spent["step"].argmax())].dropna()
    return {str(name): amount / last["step"] if last["step"] else 1.0 for name, amount in last.items()}


def _by_seed(curves: pd.DataFrame, metric: str) -> dict[int, tuple[Floats, Floats]]:
    """Return each seed's recorded steps, ascending, and its values, what is not finite as the worst there is."""
    seeds, steps = curves["seed"].to_numpy(dtype=np.int64), curves["step"].to_numpy(dtype=float)
    recorded = curves[metric].to_numpy(dtype=float)
    values = np.where(np.isfinite(recorded), recorded, worst(metric))
    order = np.lexsort((steps, seeds))
    names, starts = np.unique(seeds[order], return_index=True)
    parts = (np.split(column[order], starts[1:]) for column in (steps, values))
    return {int(name): own for name, *own in zip(names, *parts, strict=True)}


def _on_grid(own: tuple[Floats, Floats], grid: Floats, metric: str, diverged_at: Any) -> Floats:
    steps, recorded = own
    values: Floats = recorded[np.searchsorted(steps, grid, side="right") - 1]
    return values if pd.isna(diverged_at) else np.where(grid >= float(diverged_at), worst(metric), values)


def curve_chart(
    courses: Mapping[str, Course],
    *,
    metric: str,
    against: Axis,
    styles: Mapping[str, Style],
    target: float | None,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of `metric` against what is spent: each method's median a line, all its seeds a band.

    Each run's end is marked: a dot where it reached the target, a ring where it ran out of steps, a cross where it
    diverged. Of more than `MOST_BANDS` methods no bands are drawn. `key` keeps its ids apart from other charts'.
    """
    with drawing(key, height=2.6, width=THIRD) as figure:
        axes = figure.add_axes((0.13, 0.16, 0.84, 0.71))
        drawn = [
            _Drawn(method, style, courses[method], metric, against)
            for method, style in styles.items()
            if method in courses and against.name in courses[method].per_step
        ]
        ceiling = _scale_y(axes, metric, *_limits(drawn, metric, target))
        for one in drawn:
            with of_method(axes, one.method):
                one.draw(axes, ceiling, banded=len(drawn) <= MOST_BANDS)
            if len(drawn) <= MOST_BANDS:
                with of_method(axes, one.method, on_demand=True):
                    one.draw_seeds(axes, ceiling)
        if target is not None:
            axes.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
            axes.annotate(
                "target",
                (0.01, target),
                (0, -3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="top",
            )
        _scale_x(axes, drawn)
        axes.set_title(_Y_TITLES[metric], loc="left")
        axes.set_xlabel(against.label)
        return inlined(figure, key, title, description)


def profile_chart(
    profiles: Mapping[str, Profile],
    *,
    label: str,
    styles: Mapping[str, Style],
    baseline: float | None,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of the share of all runs that reached the target within x, on a logarithmic axis.

    Each method's profile is a line that rises where a run arrives; its interval, where it is one, a band. A line that
    ends below 1 tells of runs that never arrived. `baseline` marks a value of x.
    """
    arrivals = np.concatenate([one.thresholds for one in profiles.values()])
    known = arrivals[np.isfinite(arrivals) & (arrivals > 0)]
    low, high = (float(known.min()) / 1.25, float(known.max()) * 1.25) if known.size else (0.5, 2.0)
    with drawing(key, height=2.75) as figure:
        axes = figure.add_axes((0.12, 0.15, 0.85, 0.73))
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(-0.02, 1.02)
        name_ticks(axes.xaxis, low, high)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        for method, one in profiles.items():
            x = np.concatenate([[low], np.maximum(one.thresholds, low), [high]])
            with of_method(axes, method):
                _draw_profile(axes, x, one, styles[method], banded=len(profiles) <= MOST_BANDS)
        if baseline is not None:
            axes.axvline(baseline, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.set_title("share of all runs at the target", loc="left")
        axes.set_xlabel(label)
        return inlined(figure, key, title, description)


def _draw_profile(axes: Axes, x: Floats, one: Profile, style: Style, *, banded: bool) -> None:
    if banded and (one.low < one.high).any():
        low_end, high_end = (np.concatenate([[0.0], end, end[-1:]]) for end in (one.low, one.high))
        axes.fill_between(x, low_end, high_end, step="post", color=style.light, alpha=0.13, linewidth=0)
    share = np.concatenate([[0.0], one.share, one.share[-1:] if one.share.size else [0.0]])
    axes.step(x, share, where="post", color=style.light, linestyle=(0, style.dashes or None), linewidth=1.7)


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return grey `pixels` [height, width] as a PNG in a data URI.

    >>> image_uri(np.zeros((2, 2), dtype=np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


class _Drawn:
    """One method's lines in one panel."""

    def __init__(self, method: str, style: Style, course: Course, metric: str, against: Axis) -> None:
        per_step = course.per_step[against.name]
        self.method = method
        self.style = style
        self.spread = course.spread
        self.x = course.spread.steps * per_step
        self.seeds = [(steps * per_step, values) for steps, values in course.seeds.values()]
        self.ends = [
            (steps[-1] * per_step, worst(metric) if status == "diverged" else values[-1], status)
            for (steps, values), status in ((own, course.status[seed]) for seed, own in course.seeds.items())
        ]

    def draw_seeds(self, axes: Axes, ceiling: float) -> None:
        """Draw each seed's run as a thin line, in a group that the page shows on demand."""
        parts = [(x[places], y[places]) for x, y in self.seeds for places in [_spaced(len(x), SEED_POINTS)]]
        # One line with gaps: an artist a seed would take a quarter of all drawing.
        x, y = (
            np.concatenate([np.append(values, np.nan) for values in of]) for of in zip(*parts, strict=True)
        )
        shown = np.where(np.isinf(y), ceiling, np.minimum(y, ceiling))
        axes.plot(x, shown, color=self.style.light, linewidth=0.7)

    def draw(self, axes: Axes, ceiling: float, *, banded: bool) -> None:
        colour = self.style.light
        x, median, low, high = _thinned(self.x, self.spread)
        if banded:
            axes.fill_between(
                x, np.minimum(low, ceiling), np.minimum(high, ceiling), color=colour, alpha=0.16, linewidth=0
            )
        axes.plot(
            x,
            np.minimum(median, ceiling),
            color=colour,
            linestyle=(0, self.style.dashes or None),
            linewidth=1.7,
        )
        for status, marker in _END_MARKERS.items():
            ends = [(x, min(y, ceiling)) for x, y, ended in self.ends if ended == status]
            if not ends:
                continue
            axes.plot(
                *zip(*ends, strict=True),
                marker,
                color=colour,
                markersize=4.5 if status == "diverged" else 3.2,
                markerfacecolor="none" if status == "not_reached" else colour,
                linestyle="none",
                clip_on=False,
            )


def _thinned(x: Floats, spread: Spread, *, num_points: int = 150) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the spread at no more than about `num_points` places, the band still holding every value."""
    if len(x) <= num_points:
        return x, spread.median, spread.low, spread.high
    last = _spaced(len(x), num_points)
    first = np.concatenate([[0], last[:-1] + 1])
    return (
        x[last],
        spread.median[last],
        np.minimum.reduceat(spread.low, first),
        np.maximum.reduceat(spread.high, first),
    )


def _spaced(number: int, most: int) -> NDArray[np.int64]:
    """Return about `most` places of so many at most, both ends among them, closer together where they begin.

    >>> _spaced(3, 10).tolist(), len(_spaced(1000, 50)) <= 50
    ([0, 1, 2], True)
    """
    if number <= most:
        return np.arange(number)
    spaced = np.linspace(0, number - 1, most // 2), np.geomspace(1, number - 1, most // 2)
    return np.unique(np.concatenate([[0], *spaced]).astype(int))


def _limits(drawn: Sequence[_Drawn], metric: str, target: float | None) -> tuple[float, float]:
    if not metric.endswith("loss"):
        return 0.0, 1.0
    bands = [band for one in drawn for band in (one.spread.low, one.spread.high)]
    values = np.concatenate([*bands, [] if target is None else [target]])
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.1, 1.0)


def _scale_y(axes: Axes, metric: str, floor: float, ceiling: float) -> float:
    """Choose a loss's axis by its extremes; return its upper end, where what is infinite is drawn."""
    if not metric.endswith("loss"):
        top = 1.0
        axes.set_ylim(0, top)
    elif floor > 0 and ceiling / floor > _WIDE:
        top = ceiling * 1.2
        axes.set_yscale("log")
        axes.set_ylim(floor / 1.2, top)
        name_ticks(axes.yaxis, floor, ceiling)
    else:
        top = ceiling * 1.05
        axes.set_ylim(0, top)
    return top


def _scale_x(axes: Axes, drawn: Sequence[_Drawn]) -> None:
    """Choose a linear axis for runs of like length, else one that is logarithmic from the first record on."""
    lengths = [one.x[-1] for one in drawn if one.x[-1] > 0]
    if not lengths:
        return
    first = min(float(one.x[1]) for one in drawn if len(one.x) > 1)
    if max(lengths) / min(lengths) > 4:
        axes.set_xscale("symlog", linthresh=first, linscale=0.35)
        decades = range(math.ceil(math.log10(first)), math.ceil(math.log10(max(lengths))))
        put_ticks(axes.xaxis, [0, *(10.0**decade for decade in decades)])
    axes.set_xlim(0, max(lengths) * 1.03)
    if axes.get_xscale() == "linear":
        put_ticks(axes.xaxis, axes.get_xticks(), lambda value: tick_text(round(value, 12)))


_WIDE = 15
"""Least ratio of a loss's extremes that is drawn on a logarithmic axis."""

_END_MARKERS = {"reached": "o", "not_reached": "o", "diverged": "x"}
_Y_TITLES = {
    "train_loss": "training loss (nats)",
    "validation_loss": "validation loss (nats)",
    "test_loss": "test loss (nats)",
    "train_accuracy": "training accuracy",
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
}
