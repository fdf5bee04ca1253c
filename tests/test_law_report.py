"""The report's section on laws: true to its tables, whole where data lack, and readable by other than the eye."""

from __future__ import annotations

import copy
import re
from typing import Any

import pandas as pd
import pytest
from law_records import average_row, identity_row, law_record
from markupsafe import escape
from support import part_of_page

from fgbench.law_report import Laws, laws_section
from fgbench.law_tables import law_tables

HOSTILE = '<script>alert("1")</script>: a, b'
RECORDS = [
    law_record(model="logistic_regression", num_parameters=15, seed=1),
    law_record(),
    law_record(model="cnn", num_parameters=4330, seed=2, dataset="kmnist_t10k", data="digits"),
]


def tables(*records: dict[str, Any]) -> dict[str, pd.DataFrame]:
    return law_tables(records or RECORDS)


def shown(*records: dict[str, Any]) -> Laws:
    return laws_section(tables(*records))


def page(section: Laws) -> str:
    return part_of_page("laws.html.j2", laws=section)


def failing(number: int) -> dict[str, Any]:
    """A record so many of whose averages are far from what is expected."""
    record = copy.deepcopy(RECORDS[1])
    averages = [row for row in record["rows"] if row["law"] == "unbiased"]
    for row in averages[:number]:
        row["measured"] = 1.9
    return record


@pytest.fixture(scope="module")
def section() -> Laws:
    return shown()


@pytest.fixture(scope="module")
def markup(section: Laws) -> str:
    return page(section)


def test_the_first_finding_counts_all_laws_and_says_at_what_level(section: Laws) -> None:
    number = sum(len(record["rows"]) for record in RECORDS)
    averages = sum(row["tolerance"] is None for record in RECORDS for row in record["rows"])
    assert section.findings[0].startswith(
        f"{number} of {number} laws hold, at a family-wise level of 1 %: {averages} of {averages} about an average"
    )
    assert not any(sentence.startswith("Fails") for sentence in section.findings)


def test_the_findings_say_how_p_values_lie_and_what_error_would_be_found(section: Laws) -> None:
    said = " ".join(section.findings)
    assert re.search(r"\d %|<1 % of the \d+ averages have p < 0.05 taken alone; about 5 %", said)
    assert re.search(r"too long or too short by \d+(\.\d)? % with forward_gradient fails", said)


@pytest.mark.parametrize("number", [1, 3])
def test_laws_that_fail_are_named_with_both_numbers(number: int) -> None:
    section = shown(failing(number))
    named = [sentence for sentence in section.findings if sentence.startswith("Fails")]
    assert len(named) == number
    assert named[0].startswith(
        "Fails: Unbiased along the gradient (mlp on penguins, initial parameters, forward_gradient, normal tangents, "
        "K = 1): 1.9"
    )
    assert named[0].endswith("where 1.000 is predicted.")


def test_beyond_a_handful_the_failing_laws_are_counted() -> None:
    record = failing(6)
    for row in record["rows"]:
        if row["law"] == "antithetic":
            row["measured"] = 0.5
    section = shown(record)
    named = [sentence for sentence in section.findings if sentence.startswith("Fails")]
    assert len(named) == 6
    assert "6 more fail; the tables below name them." in section.findings


def test_the_number_of_draws_is_said(section: Laws, markup: str) -> None:
    assert section.draws == "300 to 1,200"
    assert "300 to 1,200 of a case" in markup


def test_a_law_that_every_draw_obeys_for_some_tangents_alone_has_both_kinds_of_rows() -> None:
    values = average_row("greatest_rate", pd.Series([0.5, -0.5, 0.0] * 50).to_numpy(), 0.0)
    rows = [one(values), one(identity_row("greatest_rate", 2e-16))]
    section = shown(law_record(points=(), num_tangents=()) | {"rows": rows})
    assert [row[4] for row in section.groups[0].table.rows] == ["0", "≤ 10⁻⁹"]
    assert [row[5] for row in section.groups[0].table.rows][1] == "2·10⁻¹⁶"


def test_a_failing_identity_is_named_with_what_is_allowed() -> None:
    section = shown(
        law_record(points=(), num_tangents=()) | {"rows": [one(identity_row("antithetic", 0.25))]}
    )
    assert section.findings[1] == (
        "Fails: An antithetic pair gains nothing (mlp on penguins, initial parameters, forward_gradient, rademacher "
        "tangents, K = 1): 0.250 where ≤ 10⁻⁹ is predicted."
    )


def one(row: dict[str, Any]) -> dict[str, Any]:
    return {"num_parameters": 131, **row}


def test_a_failing_law_is_marked_in_its_table_at_its_point() -> None:
    section = shown(failing(1))
    [group] = [group for group in section.groups if group.law.title == "Unbiased along the gradient"]
    assert group.finding == "5 of 6 hold"
    verdicts = [row[-1] for row in group.table.rows]
    assert verdicts == ["fails: initial", "holds", "holds"]


def test_each_law_has_its_formula_and_a_table_of_predictions_and_measurements(section: Laws) -> None:
    by_title = {group.law.title: group for group in section.groups}
    assert len(by_title) == len({row["law"] for record in RECORDS for row in record["rows"]})
    variance = by_title["Total variance"]
    assert "(d + κ − 2)/K" in variance.law.formula
    columns = [column.title for column in variance.table.columns]
    assert columns == [
        "Experiment",
        "Estimator",
        "Tangents",
        "K",
        "Predicted",
        "Initial",
        "Trained",
        "Verdict",
    ]
    rows = {(row[0], row[3]): row for row in variance.table.rows}
    row = rows["cnn on digits (stand-in for kmnist_t10k), d = 4,330", "4"]
    assert row[1:5] == ["forward_gradient", "normal", "4", "1,083"]
    assert re.fullmatch(r"[\d,]+ \[[\d,]+, [\d,]+\]", row[5])
    assert row[-1] == "holds"


def test_a_prediction_that_differs_by_point_stands_with_each_measurement() -> None:
    values = average_row("entry_variance", pd.Series([0.5, 1.5, 1.0] * 50).to_numpy(), 1.0)
    other = {**values, "point": "trained", "expected": 1.1}
    section = shown(law_record(points=(), num_tangents=()) | {"rows": [one(values), one(other)]})
    [[*_, predicted, initial, trained, _]] = section.groups[0].table.rows
    assert predicted == "by point"
    assert initial.endswith(" for 1.000")
    assert trained.endswith(" for 1.100")


def test_laws_are_told_in_one_order_and_unknown_ones_last_by_their_name() -> None:
    rows = [
        one(identity_row("mine", 0.0)),
        one(identity_row("exact", 0.0)),
        one(identity_row("descent", 0.0)),
    ]
    section = shown(law_record(points=(), num_tangents=()) | {"rows": rows})
    assert [group.law.title for group in section.groups] == ["Never uphill", "Exact gradient", "mine"]


def test_the_summary_has_a_row_for_each_law(section: Laws) -> None:
    assert section.summary is not None
    assert [row[0] for row in section.summary.rows] == [group.law.title for group in section.groups]
    rows = {row[0]: row for row in section.summary.rows}
    assert rows["An antithetic pair gains nothing"][3:] == ["18 of 18", "–"]
    assert rows["Unbiased along the gradient"][4].endswith(" %")


def test_charts_state_their_finding_and_have_their_numbers_as_a_table(section: Laws, markup: str) -> None:
    variance, cosine = section.charts
    assert variance.caption.startswith(
        "The relative variance of a forward gradient grows as d and falls as K: 9 of 9"
    )
    assert "normal +" in variance.caption or "normal −" in variance.caption
    assert cosine.caption.startswith(
        "Where K is nearest to d, d = 15 and K = 4, orthonormal tangents reach a cosine of"
    )
    assert len(variance.svgs) == 2
    assert variance.table is not None
    assert cosine.table is not None
    assert len(variance.table.rows) == 9
    assert len(cosine.table.rows) == 9 + 8  # sixteen tangents are more than fifteen dimensions
    said = dict(re.findall(r"<title id=[^>]*>([^<]*)</title><desc id=[^>]*>([^<]*)</desc>", markup))
    assert len(said) == 3
    assert all(text.endswith(".") for text in said.values())


def test_kinds_in_a_chart_differ_by_colour_dashes_and_marks(section: Laws) -> None:
    styles = section.charts[1].legend
    assert [*styles] == ["orthonormal_projection", "forward_gradient"]
    assert len({style.variable for style in styles.values()}) == 2
    assert len({style.dashes for style in styles.values()}) == 2


def test_the_page_escapes_names_and_repeats_no_id(markup: str) -> None:
    found = page(shown(law_record(model=HOSTILE)))
    assert "<script" not in found
    assert str(escape(HOSTILE)) in found
    ids = re.findall(r' id="([^"]*)"', markup)
    assert len(ids) == len(set(ids))


def test_cases_without_a_law_are_counted_and_have_their_reason(section: Laws, markup: str) -> None:
    assert section.skipped is not None
    reasons = [row[-1] for row in section.skipped.rows]
    assert reasons.count("no law is known") == 3
    assert "16 tangents cannot be orthonormal in 15 dimensions" in reasons
    assert "4 cases without a law" in markup


def test_without_a_measured_law_the_section_says_so() -> None:
    section = laws_section(law_tables([]))
    assert section == Laws(["No law was measured."], "99 %", "–", None, [], [], None)
    assert "No law was measured." in page(section)
    assert "<figure>" not in page(section)


@pytest.mark.parametrize("num_tangents", [(1,), (7,), (1, 4, 16)])
@pytest.mark.parametrize("num_parameters", [15, 131])
def test_one_experiment_at_one_point_is_drawn_too(num_parameters: int, num_tangents: tuple[int, ...]) -> None:
    record = law_record(num_parameters=num_parameters, points=("initial",), num_tangents=num_tangents)
    section = shown(record)
    assert len(section.charts) == 2
    assert page(section).count("<figure ") == 2


def test_what_is_not_finite_is_said_and_drawn_nowhere() -> None:
    record = copy.deepcopy(RECORDS[1])
    for row in record["rows"]:
        if row["law"] == "variance":
            row |= {"measured": None, "standard_error": None, "skewness": None}
    section = shown(record)
    assert len(section.charts) == 1
    [group] = [group for group in section.groups if group.law.title == "Total variance"]
    assert all("not finite" in row[5] for row in group.table.rows)
    assert section.findings[1].startswith("Fails: Total variance (mlp on penguins")


def test_the_section_is_the_same_for_the_same_tables(markup: str) -> None:
    assert page(shown()) == markup
