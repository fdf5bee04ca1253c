"""What `make report` prints at its end: a study's answer in a terminal's width, and the tables that it is made of."""

from __future__ import annotations

import re
from functools import cache

import pandas as pd
import pytest
import records
from rich.cells import cell_len

from fgbench.answers import sentence
from fgbench.findings import comparison_text, experiments
from fgbench.forest import ROWS_DRAWN
from fgbench.summary_report import comparison_chart, comparison_table, summary_table
from fgbench.tables import study_tables
from fgbench.terminal import study_text
from fgbench.verification_findings import verdict_text

RUNS = records.run_records()
VERIFIED = records.verified(RUNS)
HOSTILE = (
    "backprop",
    "[bold]<script>alert('$x$')</script>[/bold]",
    "long" * 25,
    "お" * 60,
    "a b " * 20,
    *(f"forward_gradient_rademacher_{place}" for place in range(12)),
)


@cache
def whole() -> dict[str, pd.DataFrame]:
    """The tables of a whole study."""
    return study_tables(
        RUNS, operations=records.operations_record(RUNS), cost=records.cost_record(RUNS, rounds=3)
    )


def squeezed(text: str) -> str:
    """Return a text without blanks and line ends, which wrapping moves."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("methods", [records.METHODS, HOSTILE], ids=["two methods", "hostile names"])
def test_a_studys_text_fits_the_terminal_and_no_line_ends_in_blanks(methods: tuple[str, ...]) -> None:
    runs = records.run_records(methods=methods, num_seeds=2)
    tables, verified = study_tables(runs), records.verified(runs)
    for width in (80, 81, 120):
        lines = study_text(tables, verified, width=width).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert lines == [line.rstrip() for line in lines]


def test_it_holds_every_cell_each_answer_whole_and_last_the_verdict() -> None:
    text = study_text(whole(), VERIFIED, width=80)
    for experiment in experiments(whole()):
        block = text[text.index(f"{experiment.title}\n") :]
        for method in records.METHODS:
            assert re.search(rf"^{method} +\d/6", block, flags=re.MULTILINE)
        assert squeezed(sentence(whole(), experiment)) in squeezed(block)
    assert re.search(r"^forward_gradient +4/6, 1 ", text, flags=re.MULTILINE)  # one diverged
    assert text.count("Method ") == 3
    assert squeezed(text).endswith(squeezed(verdict_text(VERIFIED)))
    assert "stand-in for kmnist_t10k" in text


def test_a_hostile_name_is_printed_as_it_is() -> None:
    runs = records.run_records(methods=HOSTILE[:2], num_seeds=2)
    assert "[bold]<script>alert('$x$')</script>[/bold] takes 8.4×" in re.sub(
        r"\s+", " ", study_text(study_tables(runs), records.verified(runs), width=80)
    )


def test_what_differs_is_said_in_the_last_lines() -> None:
    verified = records.verified(records.nudged(RUNS, 1e-3), against=RUNS)
    assert "\nDoes not reproduce the reference references/study.json: " in study_text(
        whole(), verified, width=80
    )


def test_a_study_without_times_or_baseline_has_its_text_too() -> None:
    alone = [record for record in RUNS if record["method"] != "backprop"]
    text = study_text(study_tables(alone), records.verified(alone), width=80)
    assert text.count("Nothing is compared.") == 3
    assert not re.search(r"\bnan\b", text)


def test_the_summary_has_a_row_a_cell_the_baseline_first() -> None:
    rows = summary_table(whole()).rows
    assert [(row[0], row[1]) for row in rows] == [
        (experiment.title, method) for experiment in experiments(whole()) for method in records.METHODS
    ]
    assert rows[0][2:5] == ["15", "6/6", "45"]
    assert rows[-1][3] == "4/6, 1 diverged"


def test_a_median_run_that_missed_the_target_is_not_given_a_number() -> None:
    runs = [record | {"runs": [records.missed(run) for run in record["runs"]]} for record in RUNS[:4]]
    costs = records.cost_record(runs, rounds=3)
    (row, _) = summary_table(study_tables(runs, operations=records.operations_record(runs), cost=costs)).rows
    assert (row[3], row[4], row[-1]) == ("0/6", "not reached", "not reached")
    assert row[4].value == float("inf")  # type: ignore[attr-defined]  # it sorts last


def test_a_comparison_stands_once_for_each_quantity_that_is_no_fixed_multiple() -> None:
    table = comparison_table(whole())
    assert table is not None
    assert len(table.rows) == 3 * 4
    assert {row[3] for row in table.rows} == {
        "Test loss",
        "Test accuracy",
        "Steps to target",
        "Time to target",
    }
    assert ["5.4× [4.0, 8.8]", "6/6", "0.031", "worse"] in [row[4:] for row in table.rows]


def test_every_complete_comparison_is_drawn_with_its_verdict_and_the_others_are_counted() -> None:
    chart, compared = comparison_chart(whole()), whole()["comparisons"]
    assert chart is not None
    rows = compared[~compared["metric"].isin(["passes_to_target", "operations_to_target"])]
    complete = rows[(rows["unpaired"] == 0) & (rows["pairs"] > 0)]
    assert len(complete) < len(rows)
    assert (
        f"{len(rows) - len(complete)} comparisons of which a pair is incomplete: not drawn" in chart.caption
    )
    text = " ".join(chart.svgs)
    for row in complete.to_dict("records"):
        assert f"{row['model']} on {row['data']}, {row['method']} against {row['baseline']}" in text
        assert comparison_text(row) in text
    assert sum(svg.count('data-method="forward_gradient"') > 0 for svg in chart.svgs) == len(chart.svgs)


def test_of_more_comparisons_than_can_be_drawn_the_resolved_ones_are() -> None:
    methods = ("backprop", *(f"mine_{place:02d}" for place in range(ROWS_DRAWN + 4)))
    every = records.run_records(methods=methods, num_seeds=6)
    tables = study_tables([record for record in every if record["model"] == "mlp"])
    rows = tables["comparisons"].copy()
    rows.loc[rows["method"] != methods[-1], "verdict"] = "not resolved"
    rows.loc[rows["method"] == methods[-1], "verdict"] = "worse"
    chart = comparison_chart(tables | {"comparisons": rows})
    assert chart is not None
    assert f"{ROWS_DRAWN} are drawn, what is resolved first" in chart.caption
    assert all(f"{methods[-1]} against" in svg for svg in chart.svgs)
    assert not any(f"{methods[-2]} against" in svg for svg in chart.svgs)


def test_where_nothing_is_compared_there_is_neither_chart_nor_table_of_comparisons() -> None:
    tables = study_tables([one for one in RUNS if one["method"] == "backprop"])
    assert comparison_table(tables) is comparison_chart(tables) is None
