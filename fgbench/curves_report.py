"""An experiment's tables go in; its learning curves come out: one figure, by what is spent, with what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fgbench.axes import Axis, known_axes
from fgbench.cost_findings import measured_on
from fgbench.figures import MOST_BANDS, Course, courses, curve_chart
from fgbench.findings import Experiment, Tables
from fgbench.pieces import METHOD, Column, Source, Table, numbers
from fgbench.svg import Style
from fgbench.wording import TITLES, count_text, joined, number_text

METRICS = {name: TITLES[name] for name in ("train_loss", "test_loss", "test_accuracy")}
"""What is drawn of a run, and its name."""

ByMetric: TypeAlias = Mapping[str, Mapping[str, Course]]
"""By drawn metric, and by method: what it does in the method's runs."""


@dataclass(frozen=True)
class View:
    """The curves against one axis: a panel a metric, and what they say."""

    axis: Axis
    svgs: Sequence[str]
    caption: str


@dataclass(frozen=True)
class Curves:
    """An experiment's learning curves: views of which one is looked at, those against steps first."""

    key: str
    title: str
    views: Sequence[View]
    metrics: Mapping[str, str]
    legend: Mapping[str, Style]
    is_banded: bool
    table: Table
    sources: Sequence[Source]


def learning_curves(own: Tables, experiment: Experiment, key: str, styles: Mapping[str, Style]) -> Curves:
    """Return the curves of an experiment's methods; `own` are its rows, `key` keeps its ids apart from others'."""
    by_metric = {metric: courses(own["curves"], own["runs"], metric) for metric in METRICS}
    axes = known_axes(own["summary"])
    return Curves(
        key,
        f"Learning curves, {experiment.title}",
        [_view(own, experiment, key, axis, styles, by_metric) for axis in axes],
        METRICS,
        styles,
        len(styles) <= MOST_BANDS,
        _table(experiment, styles, by_metric),
        [Source("curves", experiment.where)],
    )


def _view(
    own: Tables,
    experiment: Experiment,
    key: str,
    against: Axis,
    styles: Mapping[str, Style],
    by_metric: ByMetric,
) -> View:
    target = float(own["cells"]["target_loss"].iloc[0])
    svgs = [
        curve_chart(
            by_metric[metric],
            metric=metric,
            against=against,
            styles=styles,
            target=target if metric == "train_loss" else None,
            key=f"{key}-{metric.replace('_', '-')}-{against.name.replace('_', '-')}",
            title=f"{name} against {against.title}, {experiment.title}",
            description=_ends_text([metric], styles, by_metric, against),
        )
        for metric, name in METRICS.items()
    ]
    said = f"{_ends_text([*METRICS], styles, by_metric, against)}{_AXIS_NOTES[against.name]}"
    machine = f" {measured_on(own)}" if against.name == "time_s" else ""
    return View(against, svgs, f"Against {against.title}: {said}{machine}")


def _ends_text(metrics: Sequence[str], methods: Iterable[str], by_metric: ByMetric, against: Axis) -> str:
    """Return where each method's medians end, and after how many steps, passes, … its longest run did."""
    drawn = _drawn(methods, by_metric)
    if len(drawn) > MOST_BANDS:
        return "the table below tells where each median ends."
    said = []
    for method, course in drawn.items():
        if against.name not in course.per_step:
            continue
        ends = {metric: float(by_metric[metric][method].spread.median[-1]) for metric in metrics}
        values = [f"{METRICS[metric].lower()} {number_text(end)}" for metric, end in ends.items()]
        longest = against.text(float(course.spread.steps[-1]) * course.per_step[against.name])
        said.append(f"{method} at {joined(values)} (longest run {longest})")
    return f"medians end with {'; '.join(said)}."


def _drawn(methods: Iterable[str], by_metric: ByMetric) -> dict[str, Course]:
    """Return those of the methods that have curves, each with what one metric does."""
    found = next(iter(by_metric.values()))
    return {method: found[method] for method in methods if method in found}


def _table(experiment: Experiment, methods: Iterable[str], by_metric: ByMetric) -> Table:
    columns: list[Column] = [METHOD, *numbers("Steps", *METRICS.values())]
    rows = []
    for method, course in _drawn(methods, by_metric).items():
        steps = course.spread.steps
        for place in np.unique(np.linspace(0, len(steps) - 1, 9).astype(int)):
            spreads = (found[method].spread for found in by_metric.values())
            cells = [
                f"{number_text(float(one.median[place]))} ({number_text(float(one.low[place]))} to "
                f"{number_text(float(one.high[place]))})"
                for one in spreads
            ]
            rows.append([method, count_text(float(steps[place])), *cells])
    return Table(f"{experiment.title}: median (least to greatest) over all seeds", columns, rows)


_AXIS_NOTES = {
    "step": "",
    "passes": " Passes are steps × the passes of a step through the whole model.",
    "operations": " Operations are steps × those of a step's matrix products and convolutions.",
    "time_s": " Seconds are steps × the method's median time of a step.",
}
