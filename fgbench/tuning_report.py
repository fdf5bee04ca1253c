"""The tables of tuning go in; the section of the report that shows how rates were tuned comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from fgbench.findings import Experiment, Row, Tables
from fgbench.headings import HEADINGS
from fgbench.pieces import METHOD, Chart, Source, Table, numbers, words
from fgbench.svg import Style, method_styles, printable
from fgbench.tuning_figures import (
    Floats,
    Loss,
    RateRatio,
    Sensitivity,
    SharedRate,
    diverged_chart,
    rate_ratio_chart,
    sensitivity_chart,
    sensitivity_limits,
    shared_rate_chart,
)
from fgbench.tuning_findings import (
    PUBLISHED,
    SHARED_IN_LITERATURE,
    Shared,
    budget_sentences,
    flag_sentences,
    last_loss_sentences,
    plain_ones,
    rate_by_last_loss,
    rate_text,
    ratio_rows,
    ratio_sentences,
    score_text,
    shared_rates,
    shared_sentences,
    told_ones,
    tuned_cases,
)
from fgbench.wording import ABSENT, count_text, counted, joined, number_text, percent_text, ratio_text

Styles: TypeAlias = Mapping[str, Style]

TOGETHER = 5
"""Methods beside the baseline that share a chart: more lines are hard to follow."""


@dataclass(frozen=True)
class TunedExperiment:
    """How an experiment's rates were tuned: charts of all trials, and the rates chosen."""

    title: str
    table: Table
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Tuning:
    """All that the report shows of tuning."""

    budget: Sequence[str]
    equal: Table
    flags: Sequence[str]
    experiments: Sequence[TunedExperiment]
    ratios: Sequence[str]
    ratio_chart: Chart | None
    published: str
    shared: Sequence[str]
    shared_charts: Sequence[Chart]
    shared_table: Table | None
    shared_in_literature: str


def tuning_section(tables: Tables, styles: Styles) -> Tuning | None:
    """Return what the report shows of tuning, or None where nothing was tuned; `styles` hold the study's methods."""
    if tables["rates"].empty:
        return None
    missing = [method for method in dict.fromkeys(tables["rates"]["method"]) if method not in styles]
    styles = {**styles, **method_styles(missing)}
    found = shared_rates(tables)
    plain = plain_ones(found, tables)
    cases = tuned_cases(tables)
    return Tuning(
        budget=budget_sentences(tables),
        equal=_equal_table(tables),
        flags=[*flag_sentences(tables), *last_loss_sentences(tables)],
        experiments=[_experiment(tables, case, f"tune{place}", styles) for place, case in enumerate(cases)],
        ratios=ratio_sentences(tables),
        ratio_chart=_ratio_chart(tables, styles),
        published=PUBLISHED,
        shared=shared_sentences(found, told_ones(plain, tables)),
        shared_charts=[
            _shared_chart([one for one in plain if one.experiment == case], f"shared{place}", styles)
            for place, case in enumerate(cases)
            if any(one.experiment == case for one in plain)
        ],
        shared_table=_shared_table(found) if found else None,
        shared_in_literature=SHARED_IN_LITERATURE,
    )


def _equal_table(tables: Tables) -> Table:
    rows = []
    for case in tuned_cases(tables):
        rates = case.rows(tables["rates"])
        tried = rates[rates["num_trials"] > 0]
        one = (rates if tried.empty else tried).iloc[0]
        seeds = one["num_seeds"]
        rows.append(
            [
                case.title,
                count_text(len(tried)),
                count_text(one["num_rates"]),
                count_text(seeds),
                count_text(one["num_trials"]),
                count_text(one["trial_steps"]),
                count_text(one["record_every"]),
                count_text(one["extensions"]),
                count_text(one["batch_size"]),
                _choice_text(one["optimizer"], one["optimizer_options"]),
                _choice_text(one["schedule"], one["schedule_options"]),
            ]
        )
    columns = [
        *words("Experiment"),
        *numbers(
            "Methods",
            "Rates each",
            "Seeds",
            "Trials each",
        ),
        *numbers("Steps", about=HEADINGS["Steps of a trial"]),
        *numbers("Recorded every", "Extended", "Batch"),
        *words("Optimiser", "Schedule"),
    ]
    return Table("What all methods of an experiment had alike while their rates were tuned.", columns, rows)


def _experiment(tables: Tables, case: Experiment, key: str, styles: Styles) -> TunedExperiment:
    rates = {row["method"]: row for row in case.rows(tables["rates"]).to_dict("records")}
    ordered = [rates[method] for method in styles if method in rates]
    drawn = [_sensitivity(case.rows(tables["trials"]), row) for row in ordered if row["num_trials"]]
    groups = _groups(drawn, ordered[0]["baseline"])
    limits = sensitivity_limits(drawn) if drawn else (0.1, 1.0, 0.1, 1.0)
    return TunedExperiment(
        case.title,
        _rates_table(case, ordered, case.rows(tables["trials"])),
        [_chart(case, group, f"{key}-{place}", limits, styles) for place, group in enumerate(groups)],
    )


def _sensitivity(trials: pd.DataFrame, row: Row) -> Sensitivity:
    own = trials[trials["method"] == row["method"]]
    score = own.pivot_table(index="learning_rate", columns="seed", values="score", sort=True)
    last = own.fillna({"validation_loss": np.inf}).pivot(
        index="learning_rate", columns="seed", values="validation_loss"
    )
    return Sensitivity(
        row["method"],
        score.index.to_numpy(dtype=float),
        score.to_numpy(dtype=float),
        last.to_numpy(dtype=float),
        float(row["learning_rate"]),
        float(row["predicted_rate"]),
    )


def _groups(drawn: Sequence[Sensitivity], baseline: str) -> list[list[Sensitivity]]:
    """Return the methods in groups that share a chart, the baseline in each."""
    first = [one for one in drawn if one.method == baseline]
    others = [one for one in drawn if one.method != baseline]
    groups = [[*first, *group] for group in _parted(others, TOGETHER)]
    return groups or ([first] if first else [])


def _parted(ones: Sequence[Sensitivity], size: int) -> list[Sequence[Sensitivity]]:
    """Return consecutive groups, as few as `size` allows and as equal as can be."""
    number = -(-len(ones) // size)
    return [ones[place * len(ones) // number : (place + 1) * len(ones) // number] for place in range(number)]


def _chart(
    case: Experiment,
    group: Sequence[Sensitivity],
    key: str,
    limits: tuple[float, float, float, float],
    styles: Styles,
) -> Chart:
    said = f"Least score: {joined([_sensitivity_text(one) for one in group])}."
    diverged = _diverged_text(group)

    def losses(loss: Loss, name: str) -> str:
        return sensitivity_chart(
            group,
            loss=loss,
            styles=styles,
            limits=limits,
            key=f"{key}-{loss}",
            title=f"{name} against learning rate, {case.title}",
            description=said,
        )

    shares = diverged_chart(
        group,
        styles=styles,
        limits=limits,
        key=f"{key}-diverged",
        title=f"Share of diverged trials against learning rate, {case.title}",
        description=diverged,
    )
    return Chart(
        [losses("score", "Score"), losses("last", "Last validation loss"), shares],
        f"{case.title}. {said} {diverged}",
        _sensitivity_table(case, group),
        {one.method: styles[one.method] for one in group},
        title=f"Sensitivity to the rate, {case.title}",
        sources=[Source("trials", case.where)],
    )


def _sensitivity_text(one: Sensitivity) -> str:
    if not np.isfinite(one.chosen):
        return f"{one.method} diverges at every rate"
    score = float(one.score.mean(axis=1)[one.rates == one.chosen][0])
    return (
        f"{one.method} {score_text(score)} at {rate_text(one.chosen)} (predicted: {rate_text(one.predicted)})"
    )


def _diverged_text(group: Sequence[Sensitivity]) -> str:
    shares = [f"{percent_text(float(one.diverged.mean()))} of {one.method}" for one in group]
    return f"Diverged trials: {joined(shares)}."


def _sensitivity_table(case: Experiment, group: Sequence[Sensitivity]) -> Table:
    rows = [
        [
            one.method,
            rate_text(rate),
            _mean_and_range(one.score[place]),
            _mean_and_range(one.last[place]),
            percent_text(float(one.diverged[place])),
        ]
        for one in group
        for place, rate in enumerate(one.rates)
    ]
    columns = [
        METHOD,
        *numbers("Learning rate", "Score", "Last validation loss"),
        *numbers("Diverged", about=HEADINGS["Diverged trials"]),
    ]
    return Table(f"{case.title}: mean (least to greatest) over the seeds.", columns, rows)


def _mean_and_range(losses: Floats) -> str:
    low, high = float(losses.min()), float(losses.max())
    if np.isinf(high):
        return "diverged" if np.isinf(low) else f"diverged ({number_text(low)} at best)"
    return f"{number_text(float(losses.mean()))} ({number_text(low)} to {number_text(high)})"


def _rates_table(case: Experiment, rows: Sequence[Row], trials: pd.DataFrame) -> Table:
    baseline = rows[0]["baseline"]
    columns = [
        METHOD,
        *numbers("Chosen rate"),
        *numbers("Predicted", about=HEADINGS["Predicted rate"]),
        *numbers("By last loss"),
        *numbers(f"{baseline or 'Baseline'} / method", about=HEADINGS["Baseline / method"]),
        *numbers("the same, predicted", "the same, by the law", "Score", "Trials"),
        *numbers("Diverged", about=HEADINGS["Diverged trials"]),
        *words("Remark"),
    ]
    cells = [
        [
            row["method"],
            rate_text(row["learning_rate"]),
            rate_text(row["predicted_rate"]),
            rate_text(rate_by_last_loss(trials[trials["method"] == row["method"]])),
            ratio_text(row["rate_ratio"]),
            ratio_text(row["predicted_ratio"]),
            ratio_text(row["law_ratio"]),
            number_text(row["score"]),
            count_text(row["num_trials"]),
            percent_text(row["diverged_share"]),
            _remark(row),
        ]
        for row in rows
    ]
    return Table(
        f"Rates of {case.title}: chosen by the least score; predicted, the middle of the grid; and what the least last "
        "validation loss would have chosen. Ratios are of chosen rates, of predicted ones, and by the law "
        f"1 + (d + κ − 2) / K with d = {count_text(rows[0]['num_parameters'])}.",
        columns,
        cells,
    )


def _remark(row: Row) -> str:
    if row["reason"]:
        return f"not tuned: {row['reason']}" if not row["num_trials"] else row["reason"]
    edge = ["at the edge of its grid: a better rate may lie beyond"] if row["at_edge"] else []
    return "; ".join([*edge, *([row["note"]] if row["note"] else [])]) or ABSENT


def _ratio_chart(tables: Tables, styles: Styles) -> Chart | None:
    rows = ratio_rows(tables)
    if not rows:
        return None
    ratios = [
        RateRatio(
            row["method"],
            row["rate_ratio"],
            row["predicted_ratio"],
            row["law_ratio"],
            10 ** (1 / row["rates_per_decade"]),
        )
        for row in rows
    ]
    title = "Ratio of tuned learning rates against the law"
    said = "; ".join(
        f"{row['method']} on {row['model']}, d = {count_text(row['num_parameters'])}: "
        f"{ratio_text(row['rate_ratio'])} (predicted {ratio_text(row['predicted_ratio'])}, law "
        f"{ratio_text(row['law_ratio'])})"
        for row in rows
    )
    below = sum(row["rate_ratio"] < row["law_ratio"] for row in rows)
    present = {row["method"] for row in rows}
    cells = [
        [
            Experiment(row["dataset"], row["data"], row["model"]).title,
            row["method"],
            count_text(row["num_parameters"]),
            *(ratio_text(row[name]) for name in ("rate_ratio", "predicted_ratio", "law_ratio")),
        ]
        for row in rows
    ]
    columns = [
        *words("Experiment"),
        METHOD,
        *numbers("Parameters", "Chosen"),
        *numbers("Predicted", about=HEADINGS["Predicted ratio"]),
        *numbers("Law", about=HEADINGS["Law of rates"]),
    ]
    return Chart(
        [rate_ratio_chart(ratios, styles=styles, key="rate-ratios", title=title, description=f"{said}.")],
        f"Backprop's rate as a multiple of each forward gradient's: {below} of {counted(len(rows), 'chosen one')} "
        f"{'lies' if below == 1 else 'lie'} below the law's (the line). A dot is the ratio of chosen rates, its bar "
        "one step of the grid either way, a ring the ratio of predicted ones.",
        Table(f"{title}: the baseline's rate by the method's.", columns, cells),
        {method: style for method, style in styles.items() if method in present},
        title=title,
        sources=[Source("rates")],
    )


def _shared_chart(found: Sequence[Shared], key: str, styles: Styles) -> Chart:
    case = found[0].experiment
    drawn = [
        SharedRate(
            one.method,
            one.baseline,
            one.own,
            one.baseline_own,
            one.at_baselines,
            one.baseline_at_methods,
            f"{printable(one.method, longest=30)}: order {_WHETHER[one.is_reversed]} at {rate_text(one.rate)}",
        )
        for one in found
    ]
    said = "; ".join(_scores_text(one) for one in found)
    present = {name for one in found for name in (one.method, one.baseline)}
    title = f"Scores at one's own and at a shared rate, {case.title}"
    return Chart(
        [shared_rate_chart(drawn, styles=styles, key=key, title=title, description=f"{said}.")],
        f"{case.title}: {_orders_text(found)}.",
        legend={method: style for method, style in styles.items() if method in present},
        title=title,
        sources=[Source("shared_rates", case.where)],
    )


def _scores_text(one: Shared) -> str:
    return (
        f"{one.baseline} {score_text(one.baseline_own)}, at the rate of {one.method} "
        f"{score_text(one.baseline_at_methods)}; {one.method} {score_text(one.own)}, at the rate of {one.baseline} "
        f"{score_text(one.at_baselines)}"
    )


def _orders_text(found: Sequence[Shared]) -> str:
    by_order = {
        _order_text(one): [other.method for other in found if other.is_reversed == one.is_reversed]
        for one in found
    }
    said = [f"the {order} for {joined(methods)}" for order, methods in sorted(by_order.items())]
    return f"with the method's rate for both, {joined(said)}"


def _order_text(one: Shared) -> str:
    return f"order of the scores is {_WHETHER[one.is_reversed]}"


def _shared_table(found: Sequence[Shared]) -> Table:
    columns = [
        *words("Experiment"),
        METHOD,
        *words("Baseline"),
        *numbers("Method's rate", "Baseline's rate", "Method at its own", "Baseline at its own"),
        *numbers("Baseline at the method's", "Method at the baseline's"),
        *words("Order at the method's"),
    ]
    rows = [
        [
            one.experiment.title,
            one.method,
            one.baseline,
            rate_text(one.rate),
            rate_text(one.baseline_rate),
            score_text(one.own),
            score_text(one.baseline_own),
            score_text(one.baseline_at_methods),
            score_text(one.at_baselines),
            _WHETHER[one.is_reversed],
        ]
        for one in found
    ]
    return Table(
        "Scores with rates tuned apart, and with one rate for both: means over the seeds of the trials. Trials at "
        "another's rate are counted outside the budget.",
        columns,
        rows,
    )


def _choice_text(name: str, options: str) -> str:
    return f"{name}, {options}" if options else name


_WHETHER = {True: "reversed", False: "kept"}
"""What becomes of the order of two scores with one rate for both."""
