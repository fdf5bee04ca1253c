"""The tables of measured laws go in; the section of the report that sets them beside theory comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fgbench.findings import Row, Tables
from fgbench.headings import HEADINGS
from fgbench.law_charts import cosine_chart, variance_chart
from fgbench.law_findings import (
    Law,
    expected_text,
    experiment_of,
    held_text,
    law_findings,
    law_of,
    measured_text,
    present_laws,
    share_text,
)
from fgbench.law_tables import FAILS, FAMILY_LEVEL, HOLDS, POWER
from fgbench.pieces import Chart, Table, numbers, words
from fgbench.tidy import EXPERIMENT
from fgbench.wording import ABSENT, count_text, joined, percent_text


@dataclass(frozen=True)
class Group:
    """All that was measured of one law."""

    law: Law
    finding: str
    table: Table


@dataclass(frozen=True)
class Laws:
    """All that the report shows of laws.

    `joint` is the chance with which all intervals hold together, `draws` how many estimates were drawn of a case.
    """

    findings: Sequence[str]
    joint: str
    draws: str
    summary: Table | None
    charts: Sequence[Chart]
    groups: Sequence[Group]
    skipped: Table | None


def laws_section(tables: Tables) -> Laws:
    """Return what the report shows of laws; without a measured one only that there is none."""
    rows, skipped = tables["laws"], tables["laws_skipped"]
    by_law = {name: rows[rows["law"] == name] for name in present_laws(rows)}
    return Laws(
        findings=law_findings(tables),
        joint=percent_text(1 - FAMILY_LEVEL),
        draws=_draws_text(rows),
        summary=_summary_table(by_law) if by_law else None,
        charts=[chart for chart in (variance_chart(rows), cosine_chart(rows)) if chart],
        groups=[
            Group(law_of(name), f"{held_text(own)} hold", _group_table(law_of(name), own))
            for name, own in by_law.items()
        ],
        skipped=_skipped_table(skipped) if len(skipped) else None,
    )


def _draws_text(rows: pd.DataFrame) -> str:
    """Return how many estimates were drawn of a case, by the mean of all of them."""
    draws = rows["draws"][(rows["law"] != "bias") & rows["tolerance"].isna()]
    return (
        " to ".join(dict.fromkeys(count_text(end) for end in (draws.min(), draws.max())))
        if len(draws)
        else ABSENT
    )


def _summary_table(by_law: Mapping[str, pd.DataFrame]) -> Table:
    cells = []
    for name, own in by_law.items():
        law, found = law_of(name), own["detectable"].dropna()
        cells.append(
            [
                law.title,
                law.formula,
                joined(list(dict.fromkeys(own["estimator"]))),
                held_text(own),
                share_text(float(found.median())) if len(found) else ABSENT,
            ]
        )
    return Table(
        "Each law, and how many of its measurements hold. The error found is the relative error of the prediction "
        f"that one measurement finds with a chance of {percent_text(POWER)}, the median over them; – where every draw "
        "obeys, or 0 is predicted.",
        [*words("Law", "Formula", "Estimators"), *numbers("Hold", "Error found")],
        cells,
    )


def _group_table(law: Law, own: pd.DataFrame) -> Table:
    """Return a law's measurements, a row a case: what is predicted, and what was found at each point of training."""
    points = list(dict.fromkeys(own["point"]))
    case = [*EXPERIMENT, "num_parameters", "estimator", "tangents", "num_tangents"]
    measured: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in own.to_dict("records"):
        measured.setdefault(tuple(str(row[name]) for name in case), {})[row["point"]] = row
    cells = [_group_row(at, points) for at in measured.values()]
    columns = [
        *words("Experiment", "Estimator", "Tangents"),
        *numbers("K", "Predicted", *(point.capitalize() for point in points)),
        *words("Verdict", about=HEADINGS["Verdict on a law"]),
    ]
    kind = "the worst of all draws" if own["tolerance"].notna().all() else "means [interval]"
    return Table(f"{law.title}: {law.formula}. Shown is {law.quantity}, {kind}.", columns, cells)


def _group_row(at: Mapping[str, Row], points: Sequence[str]) -> list[str]:
    """Return a case's cells; `at` holds its row at each point where it was measured."""
    first = next(iter(at.values()))
    expected = {expected_text(row) for row in at.values()}
    same, failed = len(expected) == 1, [point for point, row in at.items() if row["verdict"] == FAILS]
    return [
        f"{experiment_of(first).title}, d = {count_text(first['num_parameters'])}",
        first["estimator"],
        first["tangents"] or ABSENT,
        _number_text(first["num_tangents"]),
        expected.pop() if same else "by point",
        *(_found_text(at.get(point), same=same) for point in points),
        f"fails: {joined(failed)}" if failed else HOLDS,
    ]


def _found_text(row: Row | None, *, same: bool) -> str:
    """Return what was measured at a point, and what was predicted unless that is the `same` at all."""
    if row is None:
        return ABSENT
    return measured_text(row) if same else f"{measured_text(row)} for {expected_text(row)}"


def _skipped_table(skipped: pd.DataFrame) -> Table:
    case = [*EXPERIMENT, "estimator", "tangents", "num_tangents", "reason"]
    cells = []
    for _, own in skipped.groupby(case, sort=False, dropna=False):
        row: Row = own.iloc[0].to_dict()
        cells.append(
            [
                experiment_of(row).title,
                row["estimator"] or "all",
                row["tangents"] or ABSENT,
                _number_text(row["num_tangents"]),
                joined([point for point in dict.fromkeys(own["point"]) if point]) or "all",
                row["reason"],
            ]
        )
    columns = [
        *words("Experiment", "Estimator", "Tangents"),
        *numbers("K"),
        *words("Points", "Why no law is measured"),
    ]
    return Table("Cases without a law.", columns, cells)


def _number_text(number: float) -> str:
    return ABSENT if pd.isna(number) else count_text(number)
