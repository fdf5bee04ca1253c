"""Tables of one experiment go in; SVG charts in the page's light or dark colours come out."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.wording import seconds_text, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]
Against: TypeAlias = Literal["step", "time_s"]


@dataclass(frozen=True)
class Style:
    """How a method is drawn everywhere: its colour on light and dark ground, and its dashes (none: solid)."""

    variable: str
    light: str
    dark: str
    dashes: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """A metric of a cell's runs over the steps that any of them recorded, each array [steps].

    A run that has stopped keeps its last value; one that has diverged counts as the worst from then on.
    """

    steps: Floats
    median: Floats
    low: Floats
    high: Floats


def method_styles(methods: Sequence[str]) -> dict[str, Style]:
    """Return each method's style, by its place in `methods`; neighbours differ in colour and in dashes.

    >>> method_styles(["backprop", "forward_gradient"])["backprop"].dashes
    ()
    """
    return {
        method: Style(
            f"--series-{place % len(PALETTE)}", *PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
        )
        for place, method in enumerate(methods)
    }


def spread(curves: pd.DataFrame, runs: pd.DataFrame, metric: str) -> Spread:
    """Return median and least and greatest value of `metric` over a cell's runs.

    `curves` and `runs` are the cell's rows of those tables. After a run's end its last value stays; from the
    step at which it diverged on, its loss is infinite and its accuracy zero.
    """
    grid = np.unique(curves["step"].to_numpy(dtype=float))
    diverged_at = runs.set_index("seed")["diverged_at_step"].to_dict()
    values = np.array(
        [_on_grid(rows, grid, metric, diverged_at[seed]) for seed, rows in curves.groupby("seed", sort=True)]
    )
    return Spread(grid, np.median(values, axis=0), values.min(axis=0), values.max(axis=0))


def _on_grid(rows: pd.DataFrame, grid: Floats, metric: str, diverged_at: Any) -> Floats:
    steps = rows["step"].to_numpy(dtype=float)
    values = rows[metric].to_numpy(dtype=float)[np.searchsorted(steps, grid, side="right") - 1]
    worst = _worst(metric)
    values = np.where(np.isfinite(values), values, worst)
    return values if pd.isna(diverged_at) else np.where(grid >= float(diverged_at), worst, values)


def _worst(metric: str) -> float:
    return math.inf if metric.endswith("loss") else 0.0


def curve_chart(
    curves: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    metric: str,
    against: Against,
    styles: Mapping[str, Style],
    target: float | None,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of `metric` against steps or seconds: each method's median a line, all its seeds a band.

    `curves` and `runs` are one experiment's rows. Each run's end is marked: a dot where it reached the
    target, a ring where it ran out of steps, a cross where it diverged. `key` keeps its ids apart
    from other charts'.
    """
    with _drawing(key, height=2.75) as figure:
        axes = figure.add_axes((0.12, 0.15, 0.85, 0.73))
        drawn = [
            _Drawn(style, of_method, runs[runs["method"] == method], metric, against)
            for method, style in styles.items()
            if len(of_method := curves[(curves["method"] == method) & curves[against].notna()])
        ]
        floor, ceiling = _limits(drawn, metric, target)
        for one in drawn:
            one.draw(axes, ceiling)
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
        _scale_y(axes, metric, floor, ceiling)
        _scale_x(axes, drawn)
        axes.set_title(_Y_TITLES[metric], loc="left")
        axes.set_xlabel(_X_TITLES[against])
        return _inlined(figure, key, title, description)


def times_chart(
    times: pd.DataFrame,
    *,
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of one experiment's training times: each timed run a dot, each method's median a bar.

    `limits` (seconds) are the axis's ends, so that the charts of several experiments can be compared.
    """
    methods = [method for method in styles if (times["method"] == method).any()]
    with _drawing(key, height=0.62 + 0.42 * len(methods)) as figure:
        margin = 0.45 / figure.get_figheight()
        axes = figure.add_axes((0.03, margin, 0.94, 1 - margin - 0.02))
        for row, method in enumerate(methods):
            seconds = times.loc[times["method"] == method, "train_time_s"].to_numpy(dtype=float)
            median = float(np.median(seconds))
            colour = styles[method].light
            axes.plot(
                seconds,
                np.full(len(seconds), -row),
                "o",
                color=colour,
                markersize=5,
                alpha=0.75,
                clip_on=False,
            )
            axes.plot([median, median], [-row - 0.22, -row + 0.22], color=INK, linewidth=1.6)
            axes.text(
                0.0,
                -row + 0.36,
                f"{_printable(method)}: {seconds_text(median)}",
                transform=axes.get_yaxis_transform(),
                parse_math=False,
            )
        axes.set_ylim(-len(methods) + 0.55, 0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xscale("log")
        axes.set_xlim(limits[0] / 1.5, limits[1] * 1.5)
        _name_ticks(axes.xaxis, *limits)
        axes.set_xlabel("training time (s), steps alone")
        return _inlined(figure, key, title, description)


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

    def __init__(
        self, style: Style, curves: pd.DataFrame, runs: pd.DataFrame, metric: str, against: Against
    ) -> None:
        later = curves[curves["step"] > 0]
        per_step = float(later[against].iloc[0] / later["step"].iloc[0]) if len(later) else 1.0
        self.style = style
        self.spread = spread(curves, runs, metric)
        self.x = self.spread.steps * per_step
        ends = curves.sort_values("step").groupby("seed").tail(1).merge(runs[["seed", "status"]], on="seed")
        worst = np.where(ends["status"] == "diverged", _worst(metric), ends[metric].to_numpy(dtype=float))
        self.ends = pd.DataFrame({"x": ends["step"] * per_step, "y": worst, "status": ends["status"]})

    def draw(self, axes: Axes, ceiling: float) -> None:
        colour = self.style.light
        x, median, low, high = _thinned(self.x, self.spread)
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
            ends = self.ends[self.ends["status"] == status]
            axes.plot(
                ends["x"],
                np.minimum(ends["y"], ceiling),
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
    linear, logarithmic = (
        np.linspace(0, len(x) - 1, num_points // 2),
        np.geomspace(1, len(x) - 1, num_points // 2),
    )
    last = np.unique(np.concatenate([[0], linear, logarithmic]).astype(int))
    first = np.concatenate([[0], last[:-1] + 1])
    return (
        x[last],
        spread.median[last],
        np.minimum.reduceat(spread.low, first),
        np.maximum.reduceat(spread.high, first),
    )


def _limits(drawn: Sequence[_Drawn], metric: str, target: float | None) -> tuple[float, float]:
    if not metric.endswith("loss"):
        return 0.0, 1.0
    bands = [band for one in drawn for band in (one.spread.low, one.spread.high)]
    values = np.concatenate([*bands, [] if target is None else [target]])
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.1, 1.0)


def _scale_y(axes: Axes, metric: str, floor: float, ceiling: float) -> None:
    if not metric.endswith("loss"):
        axes.set_ylim(0, 1)
    elif floor > 0 and ceiling / floor > _WIDE:
        axes.set_yscale("log")
        axes.set_ylim(floor / 1.2, ceiling * 1.2)
        _name_ticks(axes.yaxis, floor, ceiling)
    else:
        axes.set_ylim(0, ceiling * 1.05)


def _scale_x(axes: Axes, drawn: Sequence[_Drawn]) -> None:
    """Choose a linear axis for runs of like length, else one that is logarithmic from the first record on."""
    from matplotlib.ticker import FixedLocator

    lengths = [one.x[-1] for one in drawn if one.x[-1] > 0]
    if not lengths:
        return
    first = min(float(one.x[1]) for one in drawn if len(one.x) > 1)
    if max(lengths) / min(lengths) > 4:
        axes.set_xscale("symlog", linthresh=first, linscale=0.35)
        decades = range(math.ceil(math.log10(first)), math.ceil(math.log10(max(lengths))))
        _name_ticks(axes.xaxis, first, max(lengths))
        axes.xaxis.set_major_locator(FixedLocator([0, *(10.0**decade for decade in decades)]))
    axes.set_xlim(0, max(lengths) * 1.03)


def _name_ticks(axis: Axis, low: float, high: float) -> None:
    """Name a logarithmic axis's ticks by their numbers: each decade, and over few of them 2 and 5 too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def _drawing(key: str, *, height: float) -> Iterator[Figure]:
    """Give an empty figure of a phone's width, `height` in inches, and silence about glyphs it lacks."""
    import matplotlib
    from matplotlib.figure import Figure

    # Defaults first: a matplotlibrc of the reader's own would change the figures.
    defaults = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith(("backend", "interactive", "toolbar"))
    }
    with matplotlib.rc_context({**defaults, **_SETTINGS, "svg.hashsalt": key}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has other fonts
        yield Figure(figsize=(4.6, height))


def _inlined(figure: Figure, key: str, title: str, description: str) -> str:
    """Return the figure as an <svg> element: its ids its own, its colours the page's, a text alternative."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = ET.fromstring(stream.getvalue())
    for child in list(svg)[:2]:  # <metadata>, and <defs> with a <style> that would reach the whole page
        svg.remove(child)
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            name.rpartition("}")[2]: _renamed(name, value, key) for name, value in element.attrib.items()
        }
    del svg.attrib["width"], svg.attrib["height"]
    svg.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "stroke-linejoin": "round",
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-description",
    }
    for place, (tag, text) in enumerate({"title": title, "desc": description}.items()):
        element = ET.Element(tag, {"id": f"{key}-{'title' if tag == 'title' else 'description'}"})
        element.text = _printable(text, longest=2000)
        svg.insert(place, element)
    return ET.tostring(svg, encoding="unicode")


def _renamed(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name.endswith("href"):
        return value.replace("#", f"#{key}-", 1)
    if name == "style":
        value = _COLOUR.sub(lambda found: _VARIABLES.get(found[0], found[0]), value)
        value = _FONT.sub("", value)
    return value.replace("url(#", f"url(#{key}-")


def _printable(text: str, *, longest: int = 44) -> str:
    clean = "".join(letter for letter in text if letter.isprintable())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


INK = "#010203"
RULE = "#040506"
PALETTE = (
    ("#3f90da", "#5aa5e8"),
    ("#e76300", "#ff8c3a"),
    ("#832db6", "#c58be8"),
    ("#717581", "#a7abb7"),
    ("#a96b59", "#d19a88"),
    ("#bd1f01", "#ff7a62"),
)
"""Colours on light and dark ground, of contrast 3:1: from petroff10 (Petroff 2021, arXiv 2107.02270)."""

DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 1.6),
    (1, 1.4),
    (6, 1.5, 1, 1.5),
    (7, 2, 2, 2, 2, 2),
    (2.5, 1),
    (9, 3),
)

_VARIABLES = {INK: "currentColor", RULE: "var(--rule, #ddd)"} | {
    light: f"var(--series-{place}, {light})" for place, (light, _) in enumerate(PALETTE)
}
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_FONT = re.compile(r"font-family: 'DejaVu Sans';? ?")
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
_X_TITLES = {"step": "steps", "time_s": "training time (s)"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.visible": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
