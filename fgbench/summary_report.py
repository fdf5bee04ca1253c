"""Tables go in; the table of a study's cells, and its paired comparisons as a chart and a table, come out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fgbench import findings
from fgbench.cost_findings import measured_on
from fgbench.findings import Row, Tables
from fgbench.forest import ROWS_DRAWN, SAYS, forest_chart, marks_text
from fgbench.judgements import OPEN, Measured
from fgbench.pieces import METHOD, Chart, Column, Source, Table
from fgbench.wording import ABSENT, TITLES, count_text, counted, interval_text, joined, p_text


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


def comparison_chart(tables: Tables) -> Chart | None:
    """Return how far each method is from its baseline in every experiment, or None where nothing can be compared."""
    rows = [
        (experiment.title, row)
        for experiment in findings.experiments(tables)
        for row in experiment.rows(tables["comparisons"]).to_dict("records")
        if row["metric"] in _DRAWN
    ]
    complete = [one for one in rows if one[1]["pairs"] and not one[1]["unpaired"]]
    drawn = {metric: own for metric in _DRAWN if (own := _forest_rows(complete, metric))}
    if not drawn:
        return None
    every = [one for own in drawn.values() for _, one in own]
    said = findings.verdicts_together(tables["comparisons"], list(drawn))
    left_out = len(rows) - len(complete)
    lacking = (
        f" {counted(left_out, 'comparison')} of which a pair is incomplete: not drawn." if left_out else ""
    )
    cut = [TITLES[metric].lower() for metric, own in drawn.items() if len(own) > ROWS_DRAWN]
    more = (
        f" Of {joined(cut)} {ROWS_DRAWN} are drawn, what is resolved first; the table has them all."
        if cut
        else ""
    )
    return Chart(
        [_forest(own[:ROWS_DRAWN], metric) for metric, own in drawn.items()],
        f"{' '.join(said)} Paired by seed, with 95 % intervals: {marks_text(_WORDS, every)}.{lacking}{more} "
        f"{measured_on(tables)}",
        title="Each method against its baseline",
        sources=[Source("comparisons")],
    )


def _forest_rows(rows: Sequence[tuple[str, Row]], metric: str) -> list[tuple[str, Measured]]:
    """Return a metric's comparisons with their methods; of more than can be drawn, those first that are resolved."""
    found = [(row["method"], _measured(title, row)) for title, row in rows if row["metric"] == metric]
    return found if len(found) <= ROWS_DRAWN else sorted(found, key=lambda one: one[1].says == OPEN)


def _measured(where: str, row: Row) -> Measured:
    numbers = (row["mean"], row["low"], row["high"], row["p_value"])
    what = f"{row['method']} against {row['baseline']}"
    return Measured(where, what, *numbers, SAYS[row["verdict"]], row["scale"])


def _forest(rows: Sequence[tuple[str, Measured]], metric: str) -> str:
    methods, drawn = zip(*rows, strict=True)
    title = TITLES[metric]
    quantity = f"{title.lower()}, {'method / baseline' if drawn[0].scale == 'ratio' else 'method − baseline'}"
    key = f"compared-{metric.replace('_', '-')}"
    return forest_chart(drawn, quantity=quantity, words=_WORDS, key=key, title=title, methods=methods)


_DRAWN = ("steps_to_target", "time_to_target_s", "test_loss", "test_accuracy")
_WORDS = {says: verdict for verdict, says in SAYS.items()}

_MULTIPLES = ("passes_to_target", "operations_to_target")
