"""Tables go in; the table of a study's cells and that of its paired comparisons come out, as they are shown."""

from __future__ import annotations

import pandas as pd

from fgbench import findings
from fgbench.cost_findings import measured_on
from fgbench.findings import Row, Tables
from fgbench.pieces import METHOD, Column, Table
from fgbench.wording import ABSENT, TITLES, count_text, interval_text, p_text


def summary_table(tables: Tables) -> Table:
    """Return each cell of the study, a row a cell: what was reached, the final values, the time."""
    columns = [
        Column("Experiment", is_number=False),
        METHOD,
        Column("Parameters"),
        Column("Reached"),
        Column("Steps to target"),
        Column("Training loss"),
        Column("Test loss"),
        Column("Test accuracy"),
        Column("Time to target"),
    ]
    order = findings.methods(tables)
    rows = []
    for experiment in findings.experiments(tables):
        cells = experiment.rows(tables["summary"]).to_dict("records")
        for cell in sorted(cells, key=lambda cell: order.index(cell["method"])):
            rows.append([experiment.title, cell["method"], *_summary_cells(cell)])
    return Table(
        "Each cell of the study: runs that reached the target, its median steps (a miss counts as infinitely "
        "late), final values as mean [95 % bootstrap interval] over the runs that did not diverge, and the "
        f"median steps × the median time of a step with the interval of both uncertainties. {measured_on(tables)}",
        columns,
        rows,
    )


def _summary_cells(cell: Row) -> list[str]:
    return [
        count_text(cell["num_parameters"]),
        f"{cell['reached']}/{cell['runs']}" + (f", {cell['diverged']} diverged" if cell["diverged"] else ""),
        count_text(cell["steps_to_target_median"]),
        *(
            interval_text(*(cell[f"{metric}_{end}"] for end in ("mean", "low", "high")))
            for metric in ("train_loss", "test_loss", "test_accuracy")
        ),
        ABSENT if pd.isna(cell["step_time_s"]) else findings.target_time_text(cell),
    ]


def comparison_table(tables: Tables) -> Table | None:
    """Return what may be claimed of each method against its baseline, or None where nothing is compared."""
    if tables["comparisons"].empty:
        return None
    columns = [
        Column("Experiment", is_number=False),
        METHOD,
        Column("Against", is_number=False),
        Column("Quantity", is_number=False),
        Column("Mean [95 % interval]"),
        Column("Pairs"),
        Column("p"),
        Column("Verdict", is_number=False),
    ]
    rows = [
        [
            experiment.title,
            row["method"],
            row["baseline"],
            TITLES[row["metric"]],
            findings.comparison_text(row),
            f"{row['pairs']}/{row['pairs'] + row['unpaired']}",
            p_text(row["p_value"]).removeprefix("p = ").removeprefix("p "),
            row["verdict"],
        ]
        for experiment in findings.experiments(tables)
        for row in experiment.rows(tables["comparisons"]).to_dict("records")
        if row["metric"] not in _MULTIPLES
    ]
    return Table(
        "Differences (method − baseline) and ratios (method / baseline, marked ×), paired by seed, with 95 % "
        "bootstrap intervals and the p of a two-sided sign-flip test. Better or worse is claimed if every "
        "pair is complete, the interval excludes no difference and p < 0.05. Of the time to target, the interval "
        "holds the uncertainty of the steps' times too. Passes and operations to the target are fixed multiples of its "
        f"steps, and stand with each experiment. {measured_on(tables)}",
        columns,
        rows,
    )


_MULTIPLES = ("passes_to_target", "operations_to_target")
