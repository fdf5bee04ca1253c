"""Measured values with their intervals, and theory's lines, go in; a chart of one through the other comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fgbench.svg import INK, Style, drawing, inlined, name_ticks, printable, put_ticks
from fgbench.wording import count_text, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Dots:
    """What was measured of one kind: values and the ends of their intervals over a size, each [n]."""

    name: str
    sizes: Floats
    values: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Line:
    """What theory says of one kind over a size, each [m]; `text` stands at its end."""

    name: str
    sizes: Floats
    values: Floats
    text: str = ""


def law_chart(
    dots: Sequence[Dots],
    lines: Sequence[Line],
    *,
    styles: Mapping[str, Style],
    heading: str,
    axis: str,
    logarithmic: bool,
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of theory as lines and measurements as marks, each with its interval, over a logarithmic size.

    Kinds differ by colour, and by the dashes of their lines and the shape of their marks, which stand a little beside
    each other. The values' axis is `logarithmic` or linear.
    """
    names = [*styles]
    with drawing(key, height=3.1) as figure:
        axes = figure.add_axes((0.14, 0.14, 0.72, 0.75))
        axes.set_xscale("log")
        for line in lines:
            style = styles[line.name]
            axes.plot(
                line.sizes,
                line.values,
                color=style.light,
                linestyle=(0, style.dashes or None),
                linewidth=1.5,
            )
            axes.annotate(
                printable(line.text),
                (line.sizes[-1], line.values[-1]),
                (5, 0),
                textcoords="offset points",
                va="center",
                annotation_clip=False,
            )
        sizes = np.concatenate([*(one.sizes for one in dots), *(line.sizes for line in lines)])
        beside = float(sizes.max() / sizes.min()) ** 0.02
        for one in dots:
            place = names.index(one.name) - (len(names) - 1) / 2
            _mark(axes, one, beside**place, styles[one.name], names)
        _scale(axes, dots, lines, logarithmic=logarithmic)
        axes.set_title(heading, loc="left", x=-0.13)
        axes.set_xlabel(axis)
        return inlined(figure, key, title, description)


def _mark(axes: Axes, one: Dots, beside: float, style: Style, names: Sequence[str]) -> None:
    """Draw marks with their intervals at `beside` times their sizes."""
    sizes = one.sizes * beside
    axes.vlines(sizes, one.low, one.high, color=style.light, linewidth=1.2)
    marker = _MARKERS[names.index(one.name) % len(_MARKERS)]
    axes.plot(
        sizes, one.values, marker, color=style.light, markersize=5, markeredgecolor=INK, markeredgewidth=0.5
    )


def _scale(axes: Axes, dots: Sequence[Dots], lines: Sequence[Line], *, logarithmic: bool) -> None:
    """Name the sizes that were measured, and fit the values' axis to all marks, intervals and lines."""
    measured = sorted({float(size) for one in dots for size in one.sizes})
    put_ticks(axes.xaxis, measured, lambda value: count_text(round(value)))
    drawn = np.concatenate([values for one in dots for values in (one.values, one.low, one.high)])
    drawn = np.concatenate([drawn, *(line.values for line in lines)])
    if not logarithmic:
        margin = 0.06 * float(np.ptp(drawn)) or 1.0
        axes.set_ylim(float(drawn.min()) - margin, float(drawn.max()) + margin)
        put_ticks(axes.yaxis, axes.get_yticks(), lambda value: number_text(value, decimals=_decimals(axes)))
        return
    positive = drawn[drawn > 0]
    low, high = float(positive.min()) / 1.3, float(positive.max()) * 1.3
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    name_ticks(axes.yaxis, low, high)


def _decimals(axes: Axes) -> int:
    low, high = axes.get_ylim()
    return 0 if high - low > 4 else 1


_MARKERS = ("o", "s", "^", "D", "v", "P")
