"""An experiment's tables go in; its learning curves come out: one figure, by what is spent, with what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fgbench.axes import Axis, known_axes
from fgbench.cost_findings import measured_on
from fgbench.figures import MOST_BANDS, Spread, curve_chart, spread
from fgbench.findings import Experiment, Tables
from fgbench.pieces import METHOD, Column, Source, Table, numbers
from fgbench.svg import Style
from fgbench.wording import count_text, joined, number_text

METRICS = {"train_loss": "Training loss", "test_loss": "Test loss", "test_accuracy": "Test accuracy"}
"""What is drawn of a run, and its name."""


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
    spreads = _spreads(own, styles)
    return Curves(
        key,
        f"Learning curves, {experiment.title}",
        [_view(own, experiment, key, axis, styles, spreads) for axis in known_axes(own["summary"])],
        METRICS,
        styles,
        len(styles) <= MOST_BANDS,
        _table(experiment, spreads),
        [Source("curves", experiment.where)],
    )


def _view(
    own: Tables,
    experiment: Experiment,
    key: str,
    against: Axis,
    styles: Mapping[str, Style],
    spreads: Mapping[str, Mapping[str, Spread]],
) -> View:
    target = float(own["cells"]["target_loss"].iloc[0])
    svgs = [
        curve_chart(
            own["curves"],
            own["runs"],
            metric=metric,
            against=against,
            styles=styles,
            target=target if metric == "train_loss" else None,
            key=f"{key}-{metric.replace('_', '-')}-{against.name.replace('_', '-')}",
            title=f"{name} against {against.title}, {experiment.title}",
            description=_ends_text([metric], spreads, own["curves"], against),
        )
        for metric, name in METRICS.items()
    ]
    said = f"{_ends_text([*METRICS], spreads, own['curves'], against)}{_AXIS_NOTES[against.name]}"
    machine = f" {measured_on(own)}" if against.name == "time_s" else ""
    return View(against, svgs, f"Against {against.title}: {said}{machine}")


def _spreads(own: Tables, styles: Mapping[str, Style]) -> dict[str, dict[str, Spread]]:
    """Return, by method and drawn metric, the spread over the runs."""
    return {
        method: {
            metric: spread(
                own["curves"][own["curves"]["method"] == method],
                own["runs"][own["runs"]["method"] == method],
                metric,
            )
            for metric in METRICS
        }
        for method in styles
        if (own["curves"]["method"] == method).any()
    }


def _ends_text(
    metrics: Sequence[str],
    spreads: Mapping[str, Mapping[str, Spread]],
    curves: pd.DataFrame,
    against: Axis,
) -> str:
    """Return where each method's medians end, and after how many steps, passes, … its longest run did."""
    longest = curves.groupby("method")[against.name].max()
    if len(spreads) > MOST_BANDS:
        return "the table below tells where each median ends."
    said = []
    for method, one in spreads.items():
        if pd.isna(longest[method]):
            continue
        values = [f"{METRICS[name].lower()} {number_text(float(one[name].median[-1]))}" for name in metrics]
        end = against.text(float(longest[method]))
        said.append(f"{method} at {joined(values)} (longest run {end})")
    return f"medians end with {'; '.join(said)}."


def _table(experiment: Experiment, spreads: Mapping[str, Mapping[str, Spread]]) -> Table:
    columns: list[Column] = [METHOD, *numbers("Steps", *METRICS.values())]
    rows = []
    for method, by_metric in spreads.items():
        num_steps = len(by_metric["train_loss"].steps)
        for place in np.unique(np.linspace(0, num_steps - 1, 9).astype(int)):
            cells = [
                f"{number_text(float(one.median[place]))} ({number_text(float(one.low[place]))} to "
                f"{number_text(float(one.high[place]))})"
                for one in by_metric.values()
            ]
            rows.append([method, count_text(float(by_metric["train_loss"].steps[place])), *cells])
    return Table(f"{experiment.title}: median (least to greatest) over all seeds", columns, rows)


_AXIS_NOTES = {
    "step": "",
    "passes": " Passes are steps × the passes of a step through the whole model.",
    "operations": " Operations are steps × those of a step's matrix products and convolutions.",
    "time_s": " Seconds are steps × the method's median time of a step.",
}
