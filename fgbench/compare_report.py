"""Two studies compared go in; the sentences, tables and figure that tell of it come out, and the page of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from fgbench.compare_findings import (
    TESTED,
    chance_text,
    claims_text,
    counts_text,
    difference_text,
    headline,
    is_visible,
    overview,
    same_text,
    settings_text,
    step_ratio_text,
    steps_text,
)
from fgbench.comparing import (
    BETTER,
    CHANGED,
    QUANTITIES,
    UNRESOLVED,
    WORSE,
    ComparedCell,
    ComparedClaim,
    ComparedStep,
    Comparison,
    Difference,
    Facts,
    Study,
)
from fgbench.cost_findings import device_text, measured_on, noise_text
from fgbench.findings import Experiment, Row
from fgbench.forest import MARKS, ROWS_DRAWN, SAYS, forest_chart
from fgbench.headings import HEADINGS
from fgbench.judgements import OPEN, PARTLY, Judgement, Measured
from fgbench.page import page
from fgbench.pieces import METHOD, Chart, Table, numbers, words
from fgbench.types import Json
from fgbench.verification import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN
from fgbench.verification_findings import verdict_text
from fgbench.wording import (
    ABSENT,
    TITLES,
    capital,
    count_text,
    counted,
    floor_text,
    interval_text,
    joined,
    number_text,
    p_text,
    seconds_interval_text,
)

MOST_FACTS = 12
"""Facts of a kind that differ and are shown at once; more of them are folded away."""


@dataclass(frozen=True)
class Machine:
    """On what one study's steps were timed, and what disturbed that."""

    name: str
    measured_on: str
    noise: str


def comparison_page(comparison: Comparison, *, rendered: str) -> str:
    """Return the comparison as one HTML page that asks for no other file, the same bytes for the same arguments."""
    first, second = comparison.first, comparison.second
    changed_claims = [one for one in comparison.claims if one.first.verdict != one.second.verdict]
    return page(
        "compare.html.j2",
        tables={},
        filtered=_methods(comparison),
        first=first.name,
        second=second.name,
        stand_ins=list(_stand_ins(comparison)),
        headline=headline(comparison),
        overview=overview(comparison),
        made={one.kind: _facts_table(one) for one in comparison.facts if one.differing},
        most_facts=MOST_FACTS,
        same=same_text(comparison.facts),
        cells=_cells_table(comparison),
        open_cells=_open_table(comparison),
        charts=list(_charts(comparison)),
        results=list(_result_tables(comparison.cells)),
        caution=chance_text(comparison.cells),
        steps=list(_step_tables(comparison.steps)),
        step_sentence=steps_text(comparison.steps),
        machines=[_machine(name, study) for name, study in _named(comparison)],
        counts_sentence=counts_text(comparison),
        counts=_counts_table(comparison),
        claims_sentence=claims_text(comparison.claims),
        changed_claims=_claims_table(changed_claims, "Claims with another verdict.")
        if changed_claims
        else None,
        claims=_claims_table(comparison.claims, "Every claim, as either study's tables have it."),
        verified={name: verdict_text(study.verification) for name, study in _named(comparison)},
        command=shlex.join(["fgbench", "compare", first.name, second.name]),
        dates=_dates(comparison, rendered),
    )


def _facts_table(facts: Facts) -> Table:
    caption = f"{facts.kind}: {len(facts.differing)} of {counted(facts.total, 'fact')} differ."
    return Table(
        caption, words("What", "A", "B"), [[one.what, one.first, one.second] for one in facts.differing]
    )


def _cells_table(comparison: Comparison) -> Table | None:
    """Return each cell's runs by how B's compare with A's."""
    cells = [cell for cell in comparison.cells if not cell.reason]
    if not cells:
        return None
    columns = [
        METHOD,
        *words("Experiment", "Results"),
        *numbers(*(text.capitalize() for text in _RUN_TITLES.values()), "Curves part at step"),
        *words("Settings that differ"),
    ]
    rows = [
        [
            cell.method,
            cell.experiment.title,
            _WORDS[cell.verdict],
            *(count_text(sum(run["verdict"] == verdict for run in cell.runs)) for verdict in _RUN_TITLES),
            _first_parting(cell),
            settings_text(cell.otherwise),
        ]
        for cell in cells
    ]
    caption = (
        "Each cell's runs at the seeds that both studies have: how many of B's are A's in every bit, lie within the "
        "tolerance of the regeneration check, or differ; and the first step at which a curve parts from A's."
    )
    return Table(caption, columns, rows)


def _first_parting(cell: ComparedCell) -> str:
    steps = [run["parts_at_step"] for run in cell.runs if run.get("parts_at_step") is not None]
    return count_text(min(steps)) if steps else ABSENT


def _open_table(comparison: Comparison) -> Table | None:
    """Return the cells that cannot be compared, each study's own numbers beside each other."""
    cells = [cell for cell in comparison.cells if cell.reason]
    if not cells:
        return None
    rows = [
        [
            cell.method,
            cell.experiment.title,
            cell.reason,
            *(_own_mean(study, cell, metric) for metric in _OWN for _, study in _named(comparison)),
        ]
        for cell in cells
    ]
    titles = [f"{TITLES[metric]}, {name}" for metric in _OWN for name in ("A", "B")]
    caption = "Cells that cannot be compared, and why. The means, with their 95 % intervals, are of different things."
    return Table(
        caption, [METHOD, *words("Experiment", "Why"), *numbers(*titles, about=HEADINGS["Own mean"])], rows
    )


def _own_mean(study: Study, cell: ComparedCell, metric: str) -> str:
    """Return a study's own mean of a cell's runs, whatever data stood in for the one asked for."""
    rows = study.tables["summary"]
    asked = {"dataset": cell.experiment.dataset, "model": cell.experiment.model, "method": cell.method}
    for name, value in asked.items():
        rows = rows[rows[name] == value]
    found = rows.to_dict("records")
    return (
        interval_text(*(found[0][f"{metric}_{end}"] for end in ("mean", "low", "high"))) if found else ABSENT
    )


def _result_tables(cells: Sequence[ComparedCell]) -> Iterator[tuple[str, Table]]:
    """Yield each experiment's title, and the differences of those of its cells that are not identical."""
    different = [cell for cell in cells if cell.differences]
    columns = [
        METHOD,
        *words("Quantity", "B beside A"),
        *numbers("B − A, or B / A [95 % interval]", "A", "B", "Pairs", "p"),
    ]
    for experiment, group in groupby(different, key=lambda cell: cell.experiment):
        rows = [_difference_cells(cell, one) for cell in group for one in cell.differences]
        caption = (
            f"{experiment.title}: final values, and steps to the target, of both studies, paired by seed. A and B are "
            "means over the complete pairs (of steps geometric ones), × marks B / A."
        )
        yield experiment.title, Table(caption, columns, rows)


def _difference_cells(cell: ComparedCell, one: Difference) -> list[str]:
    lost = f": {counted(one.unpaired, 'pair')} not complete" if one.unpaired and one.verdict in TESTED else ""
    if one.verdict == NOT_COMPARABLE:
        lost = ": another target"
    is_tested = one.verdict in TESTED and one.pairs
    return [
        cell.method,
        TITLES[one.metric],
        f"{_WORDS[one.verdict]}{lost}",
        ABSENT if one.verdict in (IDENTICAL, NOT_COMPARABLE) else difference_text(one),
        *_apart(one),
        f"{one.pairs}/{one.pairs + one.unpaired}",
        p_text(one.p_value).removeprefix("p = ").removeprefix("p ") if is_tested else ABSENT,
    ]


def _apart(one: Difference) -> list[str]:
    """Return both means as far as they must be written to be told apart, within reason."""
    if not one.pairs:
        return [ABSENT, ABSENT]
    if one.metric == "steps_to_target":
        return [number_text(value, decimals=1) for value in (one.first, one.second)]
    for decimals in (None, 4, 5, 6, 7):
        here, there = (number_text(value, decimals=decimals) for value in (one.first, one.second))
        if here != there:
            return [here, there]
    return [number_text(one.first), number_text(one.second)]


def _charts(comparison: Comparison) -> Iterator[Chart]:
    """Yield the differences that are not nothing, two quantities a figure: each a mark and its interval."""
    for title, metrics in _FIGURES.items():
        found = {metric: drawn for metric in metrics if (drawn := _drawn(comparison.cells, metric))}
        if found:
            svgs = [_forest(drawn[:ROWS_DRAWN], metric) for metric, drawn in found.items()]
            yield Chart(svgs, _caption(found), title=title)


def _drawn(cells: Sequence[ComparedCell], metric: str) -> list[Measured]:
    """Return a quantity's differences; of more than can be drawn, those that are resolved come first."""
    found = [
        _measured(cell, one)
        for cell in cells
        for one in cell.differences
        if one.metric == metric and one.verdict in TESTED and one.pairs and is_visible(one)
    ]
    return found if len(found) <= ROWS_DRAWN else sorted(found, key=lambda one: one.says == OPEN)


def _caption(found: Mapping[str, Sequence[Measured]]) -> str:
    marks = joined([f"{MARKS[says]} {text}" for says, text in _MARKED.items()])
    notes = [
        f"{ROWS_DRAWN} of {len(drawn)} of the {TITLES[metric].lower()}"
        for metric, drawn in found.items()
        if len(drawn) > ROWS_DRAWN
    ]
    more = f" Drawn are {joined(notes)}, what is resolved first; the tables have them all." if notes else ""
    every = [one.says for drawn in found.values() for one in drawn]
    told = [f"{every.count(says)} {_WORDS[verdict]}" for verdict, says in SAYS.items() if says in every]
    return (
        f"How far B lies from A, paired by seed, with 95 % intervals ({marks}). "
        f"Of {counted(len(every), 'difference')}, {joined(told)}. What is identical, within tolerance, or nothing at "
        f"four digits after the point is left out.{more}"
    )


def _forest(drawn: Sequence[Measured], metric: str) -> str:
    quantity = f"{TITLES[metric]}, {'B / A' if drawn[0].scale == 'ratio' else 'B − A'}"
    return forest_chart(
        drawn,
        quantity=quantity,
        words=_MARKED,
        key=f"compare-{metric.replace('_', '-')}",
        title=quantity,
        methods=[one.what for one in drawn],
    )


def _measured(cell: ComparedCell, one: Difference) -> Measured:
    scale, _ = QUANTITIES[one.metric]
    numbers_of = (one.mean, one.low, one.high, one.p_value)
    return Measured(cell.experiment.title, cell.method, *numbers_of, SAYS[one.verdict], scale)


def _step_tables(steps: Sequence[ComparedStep]) -> Iterator[tuple[str, Table]]:
    """Yield each experiment's title, with its device if there are several, and what its steps cost in both studies."""
    several = len({step.device for step in steps}) > 1
    columns = [
        METHOD,
        *words("Engine", "Ratio in B"),
        *numbers("× baseline, A", "× baseline, B", "Noise floor, A", "Noise floor, B", "Time, A", "Time, B"),
    ]
    by_case: dict[tuple[Experiment, str], list[ComparedStep]] = {}
    for step in steps:
        by_case.setdefault((step.experiment, step.device), []).append(step)
    for (experiment, device), own in by_case.items():
        title = experiment.title + (f", {device_text(device)}" if several else "")
        caption = (
            f"{title}: median time of a whole step, and its ratio to the baseline's step in the same study, each with "
            "its 95 % interval. Times of A and B are not compared with each other."
        )
        yield title, Table(caption, columns, [_step_cells(step) for step in own])


def _step_cells(step: ComparedStep) -> list[str]:
    verdict = _RATIO_WORDS[step.verdict] if step.verdict else ABSENT
    return [
        step.method,
        step.engine,
        verdict + (f"; other settings: {settings_text(step.otherwise)}" if step.otherwise else ""),
        *(step_ratio_text(row) for row in step.ratios),
        *(floor_text(row["floor"]) if row else ABSENT for row in step.ratios),
        *(_time(row) for row in step.times),
    ]


def _time(row: Row | None) -> str:
    if row is None:
        return ABSENT
    return seconds_interval_text(*(row[f"step_time_{end}"] for end in ("s", "low", "high")))


def _counts_table(comparison: Comparison) -> Table | None:
    """Return the steps whose counted operations are not the same, or that one study alone counted."""
    rows = [
        [
            one.method,
            one.experiment.title,
            *(ABSENT if count is None else f"{count:,}" for count in (one.first, one.second)),
            _WORDS[one.verdict],
            settings_text(one.otherwise),
        ]
        for one in comparison.counts
        if one.verdict != IDENTICAL
    ]
    if not rows:
        return None
    columns = [METHOD, *words("Experiment"), *numbers("A", "B")]
    columns += [*words("Verdict", about=HEADINGS["Verdict on counts"]), *words("Settings that differ")]
    return Table("Counted operations of a step that are not the same in both studies.", columns, rows)


def _claims_table(claims: Sequence[ComparedClaim], caption: str) -> Table:
    rows = [
        [
            capital(one.entry.name),
            _judgement_text(one.first),
            one.first.figure or ABSENT,
            _judgement_text(one.second),
            one.second.figure or ABSENT,
        ]
        for one in claims
    ]
    return Table(caption, words("Claim", "A", "Figure, A", "B", "Figure, B"), rows)


def _judgement_text(judgement: Judgement) -> str:
    if not judgement.reason:
        return judgement.verdict
    return f"{judgement.verdict}{'' if judgement.verdict == PARTLY else ':'} {judgement.reason}"


def _machine(name: str, study: Study) -> Machine:
    return Machine(name, measured_on(study.tables), noise_text(study.tables) or "")


def _stand_ins(comparison: Comparison) -> Iterator[str]:
    for name, study in _named(comparison):
        for one in study.provenance["data"]:
            if one["asked_for"] != one["used"]:
                yield f"Stand-in data in {name}: {one['asked_for']} was asked for, {one['used']} was used."


def _dates(comparison: Comparison, rendered: str) -> Mapping[str, str]:
    finished = {
        f"Results of {name} finished": " to ".join(dict.fromkeys(_ends(study.provenance)))
        for name, study in _named(comparison)
    }
    return {**finished, "Page rendered": rendered}


def _ends(provenance: Json) -> tuple[str, str]:
    times = sorted(f"{one['finished'][:10]} {one['finished'][11:16]} UTC" for one in provenance["results"])
    return times[0], times[-1]


def _named(comparison: Comparison) -> list[tuple[str, Study]]:
    return [("A", comparison.first), ("B", comparison.second)]


def _methods(comparison: Comparison) -> list[str]:
    """Return every method that a table names."""
    cells, steps, counts = comparison.cells, comparison.steps, comparison.counts
    named = [
        *(one.method for one in cells),
        *(one.method for one in steps),
        *(one.method for one in counts),
    ]
    return [*dict.fromkeys(named)]


_FIGURES = {
    "Differences of losses": ("test_loss", "train_loss"),
    "Differences of accuracy and steps": ("test_accuracy", "steps_to_target"),
}

_OWN = ("test_loss", "test_accuracy")

_RUN_TITLES = {IDENTICAL: "identical", WITHIN: "within tolerance", DIFFERS: "different"}

_WORDS = {
    IDENTICAL: "identical",
    WITHIN: "within tolerance",
    CHANGED: "changed",
    BETTER: "better in B",
    WORSE: "worse in B",
    UNRESOLVED: "not resolved",
    NOT_COMPARABLE: "cannot be compared",
}

_RATIO_WORDS = {
    BETTER: "changed: less in B",
    WORSE: "changed: more in B",
    UNRESOLVED: "within noise",
    NOT_COMPARABLE: "cannot be compared",
}

_MARKED = {says: _WORDS[verdict] for verdict, says in SAYS.items()}
"""What the marks mean."""
