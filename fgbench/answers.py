"""Tables go in; the page's first screen comes out: a sentence an experiment, made from the numbers, and its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fgbench.answer_figures import Line, answer_chart
from fgbench.axes import AXES, Axis
from fgbench.cost_findings import measured_on
from fgbench.findings import (
    MOST_TOLD,
    Experiment,
    Row,
    Tables,
    comparison_text,
    experiments,
    verdicts_together,
)
from fgbench.pieces import Source
from fgbench.svg import Style, printable
from fgbench.types import Json
from fgbench.wording import count_text, counted, interval_text, joined, ratio_text

STEPS, SECONDS = AXES[0], AXES[-1]


@dataclass(frozen=True)
class Panel:
    """An experiment's answer, and the chart that shows it."""

    title: str
    sentence: str
    svg: str


@dataclass(frozen=True)
class Answer:
    """All panels under one caption; `data` says what they were made from."""

    title: str
    panels: Sequence[Panel]
    caption: str
    data: str
    sources: Sequence[Source]
    table: None = None


def answer(
    tables: Tables, styles: Mapping[str, Style], data: Sequence[Json], sizes: Mapping[str, Json]
) -> Answer:
    """Return the answer of a study; `data` are its data sets' metadata, `styles` its methods' in order.

    `sizes` are by data set, as the config has them, `num_train` and `num_test`: what a run takes of it.
    """
    found = experiments(tables)
    timed = tables["summary"][SECONDS.per_step].notna().all()  # a method without times would be an empty row
    axis = SECONDS if timed else STEPS
    return Answer(
        title=f"{axis.title.capitalize()} to the target, seed by seed",
        panels=[_panel(tables, one, f"answer-{place}", axis, styles) for place, one in enumerate(found)],
        caption=_caption(tables, axis),
        data=_data_text(data, sizes),
        sources=[Source("runs"), Source("comparisons", {"metric": axis.metric})],
    )


def sentence(tables: Tables, experiment: Experiment) -> str:
    """Return an experiment's answer in a sentence or two: the price to the target, and what it buys.

    With more than `MOST_TOLD` methods beside the baseline, those of one verdict are told together.
    """
    rows = experiment.rows(tables["comparisons"])
    told = [metric.metric for metric in (SECONDS, STEPS) if (rows["metric"] == metric.metric).any()]
    if not told:
        return _alone(experiment.rows(tables["summary"]))
    if rows["method"].nunique() > MOST_TOLD:
        return " ".join(verdicts_together(rows, [_priced(rows), "test_accuracy"]))
    runs = experiment.rows(tables["runs"])
    return " ".join(
        _against({row["metric"]: row for row in own.to_dict("records")}, runs)
        for _, own in rows.groupby("method", sort=True)
    )


def _panel(
    tables: Tables, experiment: Experiment, key: str, axis: Axis, styles: Mapping[str, Style]
) -> Panel:
    said = sentence(tables, experiment)
    own = {name: experiment.rows(tables[name]) for name in ("summary", "runs", "comparisons")}
    lines = [
        _line(own, method, style, axis)
        for method, style in styles.items()
        if (own["summary"]["method"] == method).any()
    ]
    baselines = sorted(set(own["comparisons"]["baseline"]))
    svg = answer_chart(
        lines,
        baseline=baselines[0] if baselines else "",
        label="seconds to the target" if axis is SECONDS else "steps to the target",
        key=key,
        title=f"{axis.title.capitalize()} to the target, {experiment.title}",
        description=said,
    )
    return Panel(experiment.title, said, svg)


def _line(own: Tables, method: str, style: Style, axis: Axis) -> Line:
    cell = own["summary"][own["summary"]["method"] == method].iloc[0].to_dict()
    runs = own["runs"][own["runs"]["method"] == method].set_index("seed")
    seeds = sorted(set(own["runs"]["seed"]))
    spent = axis.to_target(runs, cell)
    by_seed = dict(zip(runs.index, spent, strict=True))
    missed = _missed(cell)
    text = f"{printable(method, longest=30 - len(missed))}{missed}"
    line = Line(method, style, np.array([by_seed.get(seed, math.nan) for seed in seeds]), text)
    compared = own["comparisons"]
    rows = compared[(compared["method"] == method) & (compared["metric"] == axis.metric)].to_dict("records")
    if not rows:
        return line
    row = rows[0]
    if not _is_claimed(row):
        return replace(line, ratio_text="not claimed")
    ratio, low, high = (row[name] for name in ("mean", "low", "high"))
    return replace(line, ratio=ratio, low=low, high=high, ratio_text=ratio_text(ratio, low, high))


def _missed(cell: Row) -> str:
    missed = cell["runs"] - cell["reached"]
    return f": {missed}/{cell['runs']} missed" if missed else ""


def _against(rows: Mapping[str, Row], runs: pd.DataFrame) -> str:
    """Return what one method costs against the baseline, and what its test accuracy is beside."""
    steps, accuracy = rows["steps_to_target"], rows["test_accuracy"]
    return f"{steps['method']} {_price_text(rows, runs)}; {_quality_text(accuracy)}."


def _price_text(rows: Mapping[str, Row], runs: pd.DataFrame) -> str:
    steps, seconds = rows["steps_to_target"], rows["time_to_target_s"]
    baseline = steps["baseline"]
    if not _is_claimed(steps):
        order = _order_text(runs, steps["method"], baseline)
        return f"{order}: how many times longer it takes is not claimed"
    priced = {"the steps": (steps, "fewer steps", "more steps")}
    if _is_claimed(seconds):
        priced["the time"] = (seconds, "faster", "slower")
    said = [f"{comparison_text(row)} {what}" for what, (row, *_) in priced.items()]
    judged, better, worse = [*priced.values()][-1]
    verdict = {"better": better, "worse": worse}.get(judged["verdict"], judged["verdict"])
    return f"takes {joined(said)} of {baseline} to the same training loss: {verdict}"


def _order_text(runs: pd.DataFrame, method: str, baseline: str) -> str:
    """Return how often two methods reached the target, and at how many seeds one did later, a miss being latest."""
    steps_to_target = runs.set_index(["seed", "method"])["steps_to_target"].astype("float64")
    spent = steps_to_target.unstack("method").fillna(math.inf)
    own, other = spent[method], spent[baseline]
    reached = [int((np.isfinite(steps) & (steps > 0)).sum()) for steps in (own, other)]
    how = ", from above it," if ((own == 0) | (other == 0)).any() else ""
    later, sooner = int((own > other).sum()), int((own < other).sum())
    which = f"the later of the two at {later}" if later >= sooner else f"the sooner of the two at {sooner}"
    return (
        f"reached the target{how} at {reached[0]} of {counted(len(spent), 'seed')}, {baseline} at {reached[1]}, and "
        f"was {which} (a miss counts as later)"
    )


def _quality_text(row: Row) -> str:
    if not row["pairs"]:
        return "no pair of test accuracies can be compared"
    if row["verdict"] == "not resolved":
        return f"a difference in test accuracy is not resolved ({comparison_text(row)})"
    text = interval_text(abs(row["mean"]), *sorted((abs(row["low"]), abs(row["high"]))))
    return f"its test accuracy is {'higher' if row['mean'] > 0 else 'lower'} by {text}"


def _is_claimed(row: Row) -> bool:
    return bool(row["pairs"]) and not row["unpaired"] and math.isfinite(row["mean"])


def _priced(rows: pd.DataFrame) -> str:
    seconds = rows[rows["metric"] == SECONDS.metric]
    return SECONDS.metric if seconds["mean"].notna().any() else STEPS.metric


def _alone(summary: pd.DataFrame) -> str:
    """Return how the runs of methods ended that are compared with nothing."""
    said = [
        f"{row['method']} reached the target in {row['reached']} of {counted(row['runs'], 'run')}"
        + (
            f", after a median of {count_text(row['steps_to_target_median'])} steps"
            if math.isfinite(row["steps_to_target_median"])
            else ""
        )
        for row in summary.to_dict("records")
    ]
    return f"{'; '.join(said)}. Nothing is compared." if said else "Nothing was trained here."


def _caption(tables: Tables, axis: Axis) -> str:
    said = (
        f"{axis.title.capitalize()} until the training loss is below the target: a point is a run, a thin line joins "
        "the runs of one seed"
    )
    missed = int((tables["summary"]["runs"] - tables["summary"]["reached"]).sum())
    arrows = ", an arrow is a run that missed the target" if missed else ""
    began = int((tables["runs"]["steps_to_target"] == 0).sum())
    below = ", a point at the left end is a run that began below it" if began else ""
    compared = (
        " Beside it: the ratio of paired runs (geometric mean) and its 95 % interval; it is claimed only where every "
        "pair is complete."
    )
    note = compared if len(tables["comparisons"]) else ""
    machine = f" {measured_on(tables)}" if axis is SECONDS else ""
    return f"{said}{arrows}{below}.{_grain_text(tables)} Axes are logarithmic.{note}{machine}"


def _grain_text(tables: Tables) -> str:
    """Return how often losses were looked at: a run's steps to the target are a multiple of that."""
    grains = sorted({int(grain) for grain in tables["cells"]["record_every"].dropna()})
    if not grains or grains[-1] == 1:
        return ""
    every = " to ".join(count_text(grain) for grain in dict.fromkeys((grains[0], grains[-1])))
    return (
        f" The loss is looked at every {every} steps only, so a run may have been below it a little sooner."
    )


def _data_text(data: Sequence[Json], sizes: Mapping[str, Json]) -> str:
    said = [f"{one['used']} ({_sizes_text(one, sizes[one['used']])}{_stand_in_text(one)})" for one in data]
    return f"Data: {joined(said)}."


def _sizes_text(one: Json, size: Json) -> str:
    taken = size["num_train"] + size["num_test"]
    of = f"{taken:,}" if taken == one["num_samples"] else f"{taken:,} of {one['num_samples']:,}"
    return f"{of} samples a run, {size['num_test']:,} of them to test on"


def _stand_in_text(one: Json) -> str:
    return "" if one["used"] == one["asked_for"] else f", a stand-in for {one['asked_for']}"
