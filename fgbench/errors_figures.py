"""A data set's features and a method's errors go in; the most telling two, and the errors drawn over them, come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fgbench.svg import PALETTE, drawing, inlined, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """A feature by its place in a row, and its F: how far apart the classes' means lie, by the spread within them."""

    place: int
    f_statistic: float


def telling_features(inputs: NDArray[Any], labels: NDArray[Any], *, most: int = 2) -> list[Feature]:
    """Return the features that tell the classes apart best, the best first: those of greatest F.

    `inputs` are [N, features], `labels` [N]. F is that of a one-way analysis of variance: the variance
    between the classes' means by the variance within the classes. It does not depend on a feature's unit. A feature
    that never varies, or one class alone, tells nothing.

    >>> rows = np.array([[0.0, 0.0, 5.0], [1.0, 1.0, 5.0], [9.0, 1.0, 5.0], [8.0, 2.0, 5.0]])
    >>> [(one.place, round(one.f_statistic, 6)) for one in telling_features(rows, np.array([0, 0, 1, 1]))]
    [(0, 128.0), (1, 2.0)]
    """
    values = np.asarray(inputs, dtype=np.float64)
    classes = [values[labels == label] for label in np.unique(labels)]
    varying = np.flatnonzero(np.ptp(values, axis=0) > 0) if len(values) else np.array([], dtype=int)
    if len(classes) < 2 or len(classes) == len(values) or not varying.size:
        return []
    found = _f_statistics([rows[:, varying] for rows in classes])
    order = np.argsort(-found, kind="stable")[:most]
    return [Feature(int(varying[place]), float(found[place])) for place in order]


def _f_statistics(classes: Sequence[Floats]) -> Floats:
    """Return each feature's F, by its formula: `scipy.stats.f_oneway` has it too, but half a second of import."""
    means = np.array([rows.mean(axis=0) for rows in classes])
    sizes = np.array([len(rows) for rows in classes])
    deviations = means - sizes @ means / sizes.sum()
    between = sizes @ deviations**2 / (len(classes) - 1)
    within = sum(((rows - mean) ** 2).sum(axis=0) for rows, mean in zip(classes, means, strict=True))
    with np.errstate(divide="ignore"):  # classes without any spread: an F of infinity
        found: Floats = between / (within / (sizes.sum() - len(classes)))
    return found


def scatter_chart(
    points: Floats,
    labels: NDArray[Any],
    missed: pd.DataFrame,
    *,
    method: str,
    class_names: Sequence[str],
    axis_titles: tuple[str, str],
    key: str,
    title: str,
    description: str,
) -> str:
    """Return an SVG of `points` [N, 2], each with the mark of its class, and outlined those that a method gets wrong.

    An outline has the mark of the class that the example is mostly taken for, and is the larger, the greater the share
    of the runs that are wrong. `missed` are the method's rows of the table `misclassified`; `labels` are [N].
    """
    num_lines = -(-len(class_names) // NAMES_A_LINE)
    height = 3.5 + 0.2 * num_lines
    below = 0.62 + 0.2 * num_lines
    with drawing(key, height=height) as figure:
        axes = figure.add_axes((0.13, below / height, 0.84, (height - below - 0.3) / height))
        _draw_points(axes, points, labels, class_names)
        _draw_missed(axes, points, missed)
        axes.set_title(printable(method, longest=44 if method.isascii() else 26), loc="left")
        axes.set_xlabel(printable(axis_titles[0]))
        axes.set_ylabel(printable(axis_titles[1]))
        _name_classes(figure)
        svg = inlined(figure, key, title, description)
    return svg.replace("<svg ", f"<svg data-method={quoteattr(method)} ", 1)


def _draw_points(axes: Axes, points: Floats, labels: NDArray[Any], class_names: Sequence[str]) -> None:
    for label, name in enumerate(class_names):
        of_class = points[labels == label]
        axes.plot(
            of_class[:, 0],
            of_class[:, 1],
            MARKS[label],
            color=PALETTE[label][0],
            markersize=3.2,
            markeredgewidth=0,
            linestyle="none",
            label=printable(name, longest=20),
        )


def _draw_missed(axes: Axes, points: Floats, missed: pd.DataFrame) -> None:
    for row in missed.to_dict("records"):
        x, y = points[row["id"]]
        axes.plot(
            x,
            y,
            MARKS[row["predicted"]],
            color=PALETTE[row["predicted"]][0],
            markersize=6.5 + 5 * row["rate"],
            markerfacecolor="none",
            markeredgewidth=1.3,
            clip_on=False,
        )


def _name_classes(figure: Figure) -> None:
    figure.legend(
        loc="lower center",
        ncols=NAMES_A_LINE,
        frameon=False,
        fontsize=9.5,
        handletextpad=0.2,
        columnspacing=1.5,
        labelspacing=0.3,
        borderpad=0.1,
        markerscale=1.8,
    )


MARKS = ("o", "^", "s", "D", "v", "P")
"""A class's mark, as many as there are colours."""

NAMES_A_LINE = 3
