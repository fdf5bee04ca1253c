"""Tables go in; what reaching the target takes comes out: profiles of all runs along each axis, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgbench.axes import AXES, Axis, relative_to_baseline
from fgbench.axes_findings import (
    Arrivals,
    arrivals,
    axes_sentences,
    iqm_text,
    multiple_text,
    pooled_sentences,
    tail_sentences,
    trained,
)
from fgbench.cost_findings import measured_on
from fgbench.figures import MOST_BANDS, profile_chart
from fgbench.findings import Experiment, Row, Tables, comparison_text, experiments, methods
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Column, Source, Table, numbers, words
from fgbench.statistics import Floats, Profile, performance_profile
from fgbench.svg import Style
from fgbench.wording import ABSENT, count_text, counted, interval_text, percent_text, ratio_text


@dataclass(frozen=True)
class Spent:
    """What reaching the target takes in one experiment along each axis, and the final values of all its runs."""

    sentences: Sequence[str]
    table: Table
    profile: Chart
    tails: Sequence[str]
    final: Table


@dataclass(frozen=True)
class Pooled:
    """What reaching the target takes in all experiments together, as multiples of each one's baseline."""

    sentences: Sequence[str]
    profile: Chart
    table: Table


def spent(tables: Tables, experiment: Experiment, key: str, styles: Mapping[str, Style]) -> Spent | None:
    """Return what reaching the target takes in an experiment, or None where nothing was trained.

    `key` keeps its charts' ids apart from others'.
    """
    if not trained(tables, experiment):
        return None
    found = arrivals(tables, experiment)
    return Spent(
        sentences=axes_sentences(tables, experiment),
        table=_axes_table(tables, experiment, found),
        profile=_profile(tables, experiment, found, key, styles),
        tails=tail_sentences(tables, experiment),
        final=_final_table(tables, experiment),
    )


def pooled(tables: Tables, styles: Mapping[str, Style]) -> Pooled | None:
    """Return what reaching the target takes over several experiments, or None where there are not that many."""
    if not (tables["pooled"]["experiments"] > 1).any():
        return None
    return Pooled(pooled_sentences(tables), _pooled_profile(tables, styles), _pooled_table(tables))


def _axes_table(tables: Tables, experiment: Experiment, found: Arrivals) -> Table:
    rows = experiment.rows(tables["comparisons"]).to_dict("records")
    compared = {(row["method"], row["metric"]): row for row in rows}
    baseline = next((row["baseline"] for row in rows), None)
    cells = [
        [
            method,
            f"{cell['reached']}/{cell['runs']}",
            *(
                text
                for axis, by_method in found.items()
                for text in (
                    _amount_text(axis, by_method.get(method), 0.5),
                    "baseline" if method == baseline else _ratio_text(compared.get((method, axis.metric))),
                )
            ),
        ]
        for method, cell in trained(tables, experiment).items()
    ]
    relative = Column(f"× {baseline or 'baseline'}", about=HEADINGS["× baseline, spent"])
    spent = [
        column
        for axis in found
        for column in (Column(axis.title.capitalize(), about=HEADINGS[_SPENT[axis.name]]), relative)
    ]
    return Table(
        f"{experiment.title}, what was spent to the target: the median over all runs, a miss as infinitely late, and "
        f"the multiple of {baseline or 'a baseline'}'s, paired by seed [95 % interval]; – where a pair is missing. "
        f"{measured_on(tables)}",
        [METHOD, *numbers("Reached"), *spent],
        cells,
    )


def _ratio_text(row: Row | None) -> str:
    """Return a comparison with what it claims, if it claims something other than what the number says."""
    if row is None or row["unpaired"] or not row["pairs"]:
        return ABSENT
    unresolved = ", not resolved" if row["verdict"] == "not resolved" else ""
    return f"{comparison_text(row)}{unresolved}"


def _amount_text(axis: Axis, amounts: Floats | None, share: float) -> str:
    """Return, without its unit unless that is a second, within how much a share of all runs had arrived."""
    if amounts is None:
        return ABSENT
    amount = float(np.median(amounts) if share == 0.5 else _within(amounts, share))
    return axis.text(amount).removesuffix(f" {axis.title}")


def _within(amounts: Floats, share: float) -> float:
    return float(np.quantile(amounts, share, method="inverted_cdf"))


def _profile(
    tables: Tables, experiment: Experiment, found: Arrivals, key: str, styles: Mapping[str, Style]
) -> Chart:
    svgs = [
        profile_chart(
            {method: _profile_of([amounts]) for method, amounts in by_method.items()},
            label=axis.label,
            styles=styles,
            baseline=None,
            key=f"{key}-profile-{axis.name.replace('_', '-')}",
            title=f"Share of all runs that reached the target within so many {axis.title}, {experiment.title}",
            description=_arrived_text(axis.text, by_method),
        )
        for axis, by_method in found.items()
    ]
    steps, by_method = next(iter(found.items()))
    rows = [
        [method, axis.title, *(_amount_text(axis, one[method], share) for share in _SHARES)]
        for method in by_method
        for axis, one in found.items()
        if method in one
    ]
    table = Table(
        f"{experiment.title}: within how much a share of all runs had reached the target. {measured_on(tables)}",
        [METHOD, *words("Axis"), *numbers(*map(percent_text, _SHARES), about=HEADINGS["Share of runs"])],
        rows,
    )
    caption = (
        f"{experiment.title}: share of all runs that reached the target within x.{_bands_text(len(by_method))} "
        f"{_arrived_text(steps.text, by_method)} {measured_on(tables)}"
    )
    return Chart(
        svgs,
        caption,
        table,
        {method: style for method, style in styles.items() if method in by_method},
        title=f"Runs at the target, {experiment.title}",
        sources=[Source("runs", experiment.where)],
    )


def _profile_of(samples: Sequence[Floats]) -> Profile:
    every = np.concatenate(samples)
    return performance_profile(samples, np.unique(every[np.isfinite(every)]), higher_is_better=False)


def _bands_text(number: int) -> str:
    return " Bands are 95 % bootstrap intervals." if number <= MOST_BANDS else ""


def _arrived_text(text: Callable[[float], str], by_method: Mapping[str, Floats]) -> str:
    """Return how many of each method's runs arrived, and within what half of all had; `text` names an amount."""
    if len(by_method) > MOST_BANDS:
        arrived = sum(int(np.isfinite(amounts).sum()) for amounts in by_method.values())
        return f"Arrived: {arrived:,} of {counted(sum(map(len, by_method.values())), 'run')}."
    said = []
    for method, amounts in by_method.items():
        median = float(np.median(amounts))
        half = f", half of all within {text(median)}" if math.isfinite(median) else ""
        said.append(f"{int(np.isfinite(amounts).sum())} of {len(amounts)} with {method}{half}")
    return f"Arrived: {'; '.join(said)}."


def _final_table(tables: Tables, experiment: Experiment) -> Table:
    rows = [
        [
            method,
            str(cell["diverged"]),
            *(
                text
                for metric in ("test_loss", "test_accuracy")
                for text in (
                    interval_text(*(cell[f"{metric}_{end}"] for end in ("mean", "low", "high"))),
                    iqm_text(cell, metric),
                )
            ),
            "yes" if cell["heavy_tailed"] else "no",
        ]
        for method, cell in trained(tables, experiment).items()
    ]
    means = [
        Column(f"{metric}, {mean}", about=about)
        for metric in ("Test loss", "Test accuracy")
        for mean, about in _MEANS.items()
    ]
    return Table(
        f"{experiment.title}, final values [95 % interval]: the mean over the runs that did not diverge, and the mean "
        "of the middle half of all runs, a diverged one with an infinite loss and an accuracy of 0.",
        [METHOD, *numbers("Diverged"), *means, *words("Heavy-tailed")],
        rows,
    )


def _pooled_profile(tables: Tables, styles: Mapping[str, Style]) -> Chart:
    relative = _relative(tables)
    baseline = str(tables["pooled"]["baseline"].iloc[0])
    said = " ".join(pooled_sentences(tables))
    svgs = [
        profile_chart(
            {method: _profile_of(samples) for method, samples in by_method.items()},
            label=f"{axis.title} by the median of {baseline}",
            styles=styles,
            baseline=1.0,
            key=f"pooled-{axis.name.replace('_', '-')}",
            title=f"Share of all runs that reached the target within x times the {axis.title} of {baseline}",
            description=said,
        )
        for axis, by_method in relative.items()
    ]
    steps, in_steps = next(iter(relative.items()))
    arrived = _arrived_text(
        lambda ratio: f"{ratio_text(ratio)} the {steps.title}",
        {method: np.concatenate(samples) for method, samples in in_steps.items()},
    )
    present = {method for by_method in relative.values() for method in by_method}
    caption = (
        f"All experiments: share of all runs that reached the target within x times the median of {baseline} in the "
        f"same experiment, each experiment counting alike.{_bands_text(len(present))} {arrived} {measured_on(tables)}"
    )
    return Chart(
        svgs,
        caption,
        legend={method: style for method, style in styles.items() if method in present},
        title="Runs at the target, all experiments",
        sources=[Source("runs"), Source("summary")],
    )


def _relative(tables: Tables) -> dict[Axis, dict[str, list[Floats]]]:
    """Return by axis and method, an array an experiment, what runs spent by the median of the baseline."""
    baselines = dict(tables["pooled"][["method", "baseline"]].itertuples(index=False, name=None))
    found: dict[Axis, dict[str, list[Floats]]] = {}
    for experiment in experiments(tables):
        cells, runs = trained(tables, experiment), experiment.rows(tables["runs"])
        for method, cell in cells.items():
            baseline = baselines.get(method)
            if baseline not in cells:
                continue
            own, others = (runs[runs["method"] == name] for name in (method, baseline))
            for axis, values in relative_to_baseline(own, cell, others, cells[baseline]).items():
                found.setdefault(axis, {}).setdefault(method, []).append(values)
    return {axis: found[axis] for axis in AXES if axis in found}


def _pooled_table(tables: Tables) -> Table:
    rows = {(row["method"], row["axis"]): row for row in tables["pooled"].to_dict("records")}
    axes = [axis for axis in AXES if any(name == axis.name for _, name in rows)]
    cells = []
    for method in methods(tables):
        found = [rows.get((method, axis.name)) for axis in axes]
        first = next((row for row in found if row), None)
        if first:
            reached = f"{first['reached']}/{first['runs']}"
            texts = [multiple_text(row) if row else ABSENT for row in found]
            cells.append([method, count_text(first["experiments"]), reached, *texts])
    return Table(
        "All experiments, what was spent to the target: interquartile mean over all runs as a multiple of the "
        "baseline's median in the same experiment [95 % bootstrap interval, each experiment's runs resampled for "
        "themselves]. A run that missed the target is infinitely late; how long a step takes is held for known. "
        f"{measured_on(tables)}",
        [
            METHOD,
            *numbers("Experiments", "Reached"),
            *numbers(*(axis.title.capitalize() for axis in axes), about=HEADINGS["× baseline, pooled"]),
        ],
        cells,
    )


_SHARES = (0.25, 0.5, 0.75, 1.0)
_MEANS = {
    "mean of those that did not": HEADINGS["Mean of final values"],
    "interquartile mean of all": HEADINGS["Interquartile mean of final values"],
}
_SPENT = {
    "step": "Steps to the target",
    "passes": "Passes to the target",
    "operations": "Operations to the target",
    "time_s": "Seconds to the target",
}
