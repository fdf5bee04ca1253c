"""A drawing with matplotlib goes in; an <svg> element in the page's light or dark colours comes out."""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width
from xml.etree import ElementTree as ET

import numpy as np

from fgbench.wording import tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform


@dataclass(frozen=True)
class Style:
    """How a method is drawn everywhere: its colour on light and dark ground, and its dashes (none: solid)."""

    variable: str
    light: str
    dark: str
    dashes: tuple[float, ...]


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


def name_ticks(
    axis: Axis, low: float, high: float, text: Callable[[float], str] = tick_text, *, room: float = 1.0
) -> None:
    """Put ticks on a logarithmic axis: at each decade, over few of them at 3, or at 2 and 5, too, over many at fewer.

    `text` is what is said of each; `room` is the axis's length as a share of a chart's width. One number alone would
    not tell the scale.
    """
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    every = math.ceil((last - first + 1) / max(3, _MOST_DECADES * room))
    decades = range(first + -first % every, last + 1, every)
    spanned = (high / low) ** (1 / room)
    fitting = [(1,), (1, 3), (1, 2, 5)][sum(spanned < most for most in (300, 50)) :]  # the coarsest first
    found = [[part * 10.0**decade for decade in decades for part in parts] for parts in fitting]
    telling = [places for places in found if sum(low <= place <= high for place in places) > 1]
    put_ticks(axis, [*telling, found[-1]][0], text)


def put_ticks(axis: Axis, places: Iterable[float], text: Callable[[float], str] = tick_text) -> None:
    """Put an axis's ticks at those of the places that lie on it, and at each what `text` says of it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    axis.set_major_locator(FixedLocator([*places]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


@contextmanager
def drawing(key: str, *, height: float, width: float = 4.6) -> Iterator[Figure]:
    """Give an empty figure, in inches, and silence about glyphs it lacks; where it is narrower, its text is larger."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings() | {"svg.hashsalt": key}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has other fonts
        yield Figure(figsize=(width, height))


@cache
def _settings() -> dict[Any, Any]:
    """Return what must be set: defaults first, for a matplotlibrc of the reader's own would change the figures."""
    import matplotlib

    wanted = {**matplotlib.rcParamsDefault, **_SETTINGS}
    return {
        name: value
        for name, value in wanted.items()
        if not name.startswith(("backend", "interactive", "toolbar")) and matplotlib.rcParams[name] != value
    }


@contextmanager
def of_method(axes: Axes, method: str, *, on_demand: bool = False) -> Iterator[None]:
    """Mark what is drawn meanwhile as a method's: it leaves the page with the method filter.

    What is `on_demand` is shown only while the reader asks for every seed.
    """
    with _tagged(axes, f"{_SEEDS if on_demand else _METHOD}{method}"):
        yield


@contextmanager
def between_methods(axes: Axes, method: str, other: str) -> Iterator[None]:
    """Mark what is drawn meanwhile as joining two methods: it leaves the page with either."""
    with _tagged(axes, f"{_PAIR}{json.dumps([method, other])}"):
        yield


@contextmanager
def _tagged(axes: Axes, gid: str) -> Iterator[None]:
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(gid)


def rows_of(figure: Figure, rows: Sequence[tuple[str, str]]) -> Axes:
    """Return axes with a row a (method, text), the text above what is drawn in the row; row i lies at −i."""
    margin = 0.45 / figure.get_figheight()
    axes = figure.add_axes((0.03, margin, 0.94, 1 - margin - 0.02))
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "parse_math": False, "fontsize": 9.5}
    for row, (method, text) in enumerate(rows):
        with of_method(axes, method):
            axes.text(0.0, -row + 0.31, printable(text, longest=58), **place)
    axes.set_ylim(-len(rows) + 0.6, 0.72)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return axes


def inlined(figure: Figure, key: str, title: str, description: str) -> str:
    """Return the figure as an <svg> element: its ids its own, its colours the page's, a text alternative.

    What was tagged with a method says so in `data-method`. Lines and points that stand for numbers are of the class
    `mark`; how to read them tells `data-scales` of the axes around them.
    """
    width, height = 72 * figure.get_size_inches()
    for axes in figure.axes:
        _make_readable(axes, width, height)
        if axes.axison:
            _draw_scales(axes, width, height)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = ET.fromstring(stream.getvalue())
    for child in list(svg)[:2]:  # <metadata>, and <defs> with a <style> that would reach the whole page
        svg.remove(child)
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = dict(_attributes(element, key))
        if element.tag != "text":
            element.text = None
        element.tail = None
    _unwrap(svg)
    del svg.attrib["width"], svg.attrib["height"]
    svg.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "stroke-linejoin": "round",
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-description",
    }
    for place, (tag_name, text) in enumerate({"title": title, "desc": description}.items()):
        element = ET.Element(tag_name, {"id": f"{key}-{'title' if tag_name == 'title' else 'description'}"})
        element.text = printable(text, longest=2000)
        svg.insert(place, element)
    return ET.tostring(svg, encoding="unicode")


def printable(text: str, *, longest: int = 44) -> str:
    """Return a text without letters that XML refuses, cut where it is longer than a chart is wide.

    >>> printable("forward_gradient", longest=8), printable("おおおおお", longest=8)
    ('forward…', 'おおお…')
    """
    clean = "".join(letter for letter in text if letter.isprintable())
    ends = [*accumulate(2 if east_asian_width(letter) in "WF" else 1 for letter in clean)]
    if not ends or ends[-1] <= longest:
        return clean
    return clean[: sum(end < longest for end in ends)] + "…"


def _make_readable(axes: Axes, width: float, height: float) -> None:
    """Have the axes tell their scales, and what is drawn by them that it can be read; `width`, `height` in points."""
    box = axes.get_position()
    across, up = (box.x0 * width, box.x1 * width), ((1 - box.y0) * height, (1 - box.y1) * height)
    scales = {
        "x": _scale(axes.get_xlabel(), axes.xaxis, axes.get_xlim(), across),
        "y": _scale(axes.get_ylabel() or axes.get_title(loc="left"), axes.yaxis, axes.get_ylim(), up),
    }
    named = {
        name: scale for name, scale in scales.items() if scale["name"]
    }  # else it is of rows, not of numbers
    axes.set_gid(f"{_AXES}{json.dumps(named, ensure_ascii=False, separators=(',', ':'))}")
    for line in axes.lines:
        if line.get_transform() == axes.transData:
            line.set_gid(f"{_MARK}{line.get_gid() or ''}")


def _draw_scales(axes: Axes, width: float, height: float) -> None:
    """Draw both scales with their names in the place of matplotlib's own; the figure is so many points across and high.

    A tick of matplotlib's is five artists, laid out whenever it is asked for: they took a quarter of all drawing.
    """
    from matplotlib.markers import TICKDOWN, TICKLEFT

    to_numbers = axes.get_xaxis_text1_transform(_TO_NUMBERS), axes.get_yaxis_text1_transform(_TO_NUMBERS)
    _draw_scale(axes, axes.xaxis, axes.get_xaxis_transform(), to_numbers[0], TICKDOWN)
    _draw_scale(axes, axes.yaxis, axes.get_yaxis_transform(), to_numbers[1], TICKLEFT)
    box = axes.get_position()
    below, beside = -_TO_NAME / (box.height * height), -_TO_NAME_BESIDE / (box.width * width)
    write = partial(axes.figure.text, transform=axes.transAxes)
    write(0.5, below, axes.get_xlabel(), ha="center", va="top")
    write(beside, 0.5, axes.get_ylabel(), ha="right", va="center", rotation=90)


def _draw_scale(
    axes: Axes, axis: Axis, along: Transform, to_numbers: tuple[Transform, Any, Any], mark: Any
) -> None:
    """Draw a scale's grid and ticks as an artist each, and its numbers.

    `along` takes a place on it and a share of the axes across it, and so does the first of `to_numbers`, by the other
    two of which numbers are aligned.
    """
    from matplotlib.lines import Line2D

    axis.set_visible(False)
    figure: Any = axes.figure  # its artists are not clipped, which is quicker
    settings, turn = axis.get_tick_params(), 1 if axis is axes.xaxis else -1
    ticks = _ticks(axis)
    if settings["gridOn"]:
        ends = np.repeat([*ticks], 3), np.tile([0, 1, np.nan], len(ticks))
        figure.add_artist(Line2D(*ends[::turn], transform=along, color=RULE, linewidth=0.7, zorder=-1))
    style: dict[str, Any] = {"markersize": 3.5, "markeredgewidth": 0.8, "linestyle": "none"}
    places = [*ticks], np.zeros(len(ticks))
    figure.add_artist(Line2D(*places[::turn], transform=along, color=INK, marker=mark, **style))
    transform, upright, across = to_numbers
    aligned: dict[str, Any] = {"transform": transform, "va": upright, "ha": across}
    for place, text in ticks.items():
        x, y = (place, 0.0)[::turn]
        figure.text(x, y, text, fontsize=settings.get("labelsize", 9.5), **aligned)


def _ticks(axis: Axis) -> dict[float, str]:
    """Return by place on an axis, within its ends, what its ticks say."""
    places = [float(place) for place in axis.get_majorticklocs()]
    texts = axis.get_major_formatter().format_ticks(places)
    low, high = sorted(axis.get_view_interval())
    return {
        place: text
        for place, text in zip(places, texts, strict=True)
        if low - abs(low) * _ROUNDING <= place <= high + abs(high) * _ROUNDING
    }


def _scale(name: str, axis: Axis, ends: Sequence[float], at: Sequence[float]) -> dict[str, Any]:
    """Return an axis's name and kind, the numbers at its ends, where these lie, and what is linear of a symlog."""
    scale = {
        "name": printable(name, longest=80),
        "kind": axis.get_scale(),
        "ends": [float(f"{end:.6g}") for end in ends],
        "at": [round(float(place), 2) for place in at],
    }
    if scale["kind"] == "symlog":
        transform: Any = axis.get_transform()
        scale["linear"] = [float(f"{value:.6g}") for value in (transform.linthresh, transform.linscale)]
    return scale


def _attributes(element: ET.Element, key: str) -> Iterator[tuple[str, str]]:
    """Yield an element's attributes as the page has them: no id but what is referred to, no digit that nobody sees."""
    for full_name, value in element.attrib.items():
        name = full_name.rpartition("}")[2]
        if name == "id" and element.tag == "g":
            yield from _meaning(value)
        elif name == "id":
            yield name, f"{key}-{value}"
        elif name.endswith("href"):
            yield name, value.replace("#", f"#{key}-", 1)
        elif name == "style":
            yield name, _style(value)
        elif not value.startswith("rotate(-0 "):
            yield name, _DIGITS.sub("", value.replace("url(#", f"url(#{key}-").strip())


@cache
def _style(text: str) -> str:
    """Return a style with the page's colours and without its font: many elements share a few."""
    return _FONT.sub("", _COLOUR.sub(lambda found: _VARIABLES.get(found[0], found[0]), text))


def _meaning(gid: str) -> Iterator[tuple[str, str]]:
    """Yield what a group of the drawing is, by what it was tagged with."""
    if gid.startswith(_AXES):
        yield "data-scales", gid.removeprefix(_AXES)
        return
    whose = gid.removeprefix(_MARK)
    if whose.startswith(_PAIR):
        yield from zip(("data-method", "data-beside"), json.loads(whose.removeprefix(_PAIR)), strict=True)
    if whose.startswith((_METHOD, _SEEDS)):
        yield "data-method", whose.removeprefix(_METHOD).removeprefix(_SEEDS)
    classes = [
        name for name, is_one in (("mark", whose != gid), ("seeds", whose.startswith(_SEEDS))) if is_one
    ]
    if classes:
        yield "class", " ".join(classes)


def _unwrap(parent: ET.Element) -> None:
    """Put in the place of each group that says nothing what stands in it."""
    parent[:] = [one for child in parent for one in _unwrapped(child)]


def _unwrapped(element: ET.Element) -> list[ET.Element]:
    _unwrap(element)
    return [element] if element.tag != "g" or element.attrib else list(element)


INK = "#010203"
RULE = "#040506"
GROUND = "#070809"
PALETTE = (
    ("#3f90da", "#5aa5e8"),
    ("#e76300", "#ff8c3a"),
    ("#832db6", "#c58be8"),
    ("#717581", "#a7abb7"),
    ("#a96b59", "#d19a88"),
    ("#bd1f01", "#ff7a62"),
)
"""Colours on light and dark ground, of contrast 3:1: from petroff10 (Petroff 2021, arXiv 2107.02270)."""

PART_PALETTE = (
    ("#bcd9f5", "#1f4f7d"),
    ("#ffd3ad", "#7a3f10"),
    ("#d8d8de", "#4b4f5a"),
    ("#dfc9ef", "#5a3580"),
)
"""Fills of a bar's parts on light and dark ground: the page's ink on them has a contrast of 4.5:1."""

THIRD = 4.0
"""Inches across of a chart with two others beside it: its text is larger for it."""

DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 1.6),
    (1, 1.4),
    (6, 1.5, 1, 1.5),
    (7, 2, 2, 2, 2, 2),
    (2.5, 1),
    (9, 3),
)

_VARIABLES = {INK: "currentColor", RULE: "var(--rule, #ddd)", GROUND: "var(--ground, #fff)"} | {
    light: f"var(--{name}-{place}, {light})"
    for name, palette in (("series", PALETTE), ("part", PART_PALETTE))
    for place, (light, _) in enumerate(palette)
}
_TO_NUMBERS, _TO_NAME, _TO_NAME_BESIDE = 7.0, 20.5, 27.0
"""Points from an axis to its numbers, to its name below them, and to its name beside them."""

_ROUNDING = 1e-9
"""Share of its value by which a tick may lie beyond an axis's end."""

_MOST_DECADES = 8
"""Decades with a tick each, on an axis as long as a chart is wide."""

_AXES = "axes:"
_MARK = "mark:"
_METHOD = "method:"
_SEEDS = "seeds:"
_PAIR = "pair:"
_DIGITS = re.compile(r"(?<=\d\.\d\d)\d+")  # without a group to put back: that takes ten times as long
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_FONT = re.compile(r"font-family: 'DejaVu Sans';? ?")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # where it is wanted: to look for room costs a quarter of the drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.titlecolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
