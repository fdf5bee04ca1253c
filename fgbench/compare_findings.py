"""Two studies compared go in; the sentences that say what changed, and what cannot be told, come out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    Fact,
    Facts,
    fact_text,
)
from fgbench.cost_findings import device_text
from fgbench.findings import Row
from fgbench.statistics import LEAST_PAIRS, SIGNIFICANCE
from fgbench.verification import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN
from fgbench.wording import (
    ABSENT,
    TITLES,
    Quantity,
    counted,
    interval_text,
    joined,
    percent_text,
    ratio_text,
)

MOST_NAMED = 6
"""Cells, settings and the like that one sentence names; of more, it says how many."""


MOST_SPELT_OUT = 2
"""Ways to differ in settings of which each is told with its values; of more, only what differs."""

LEAST_WRITTEN = 5e-5
"""A difference below this is nothing at four digits after the point."""

TESTED = (BETTER, WORSE, UNRESOLVED)
"""What a test may say of a difference that is no mere rounding."""


@dataclass(frozen=True)
class Headline:
    """The verdict on both studies: its name in the style sheet, what tells it without colour, and its words."""

    state: str
    sign: str
    words: str


def headline(comparison: Comparison) -> Headline:
    """Return the verdict on both studies' runs."""
    counts = _tally(cell.verdict for cell in comparison.cells)
    num_compared = sum(counts.values()) - counts.get(NOT_COMPARABLE, 0)
    if not num_compared:
        return Headline("not-comparable", "?", _nothing_text(comparison))
    cells = counted(num_compared, "cell")
    if changed := counts.get(CHANGED):
        return Headline("differs", "≠", f"Results changed in {changed} of {cells}.")
    if unresolved := counts.get(UNRESOLVED):
        return Headline(
            "unresolved",
            "○",
            f"Runs differ in {unresolved} of {cells}, and no difference of results is resolved.",
        )
    if counts.get(WITHIN):
        return Headline(
            "within-tolerance", "≈", f"All runs of {cells} agree: to the last bit or within tolerance."
        )
    return Headline("identical", "✓", f"All runs of {cells} are the same to the last bit.")


def overview(comparison: Comparison) -> list[str]:
    """Return what changed, what is within noise and what cannot be compared, in a few sentences."""
    return [
        *_runs_text(comparison.cells),
        *_cells_text(comparison.cells),
        *_changed_texts(comparison.cells),
        *_few_seeds_text(comparison.cells),
        *_open_texts(comparison),
        *_otherwise_texts(comparison.cells),
        _made_text(comparison.facts),
        steps_text(comparison.steps),
        counts_text(comparison),
        claims_text(comparison.claims),
        *_copies_text(comparison),
    ]


def same_text(facts: Sequence[Facts]) -> str:
    """Return what is the same in both, with how much of it was compared."""
    same = [
        f"{one.kind.lower()} ({counted(one.total - len(one.differing), 'fact')})"
        for one in facts
        if one.total > len(one.differing)
    ]
    return f"The same in both: {joined(same)}." if same else "Nothing of it is the same in both."


def steps_text(steps: Sequence[ComparedStep]) -> str:
    """Return how many steps' ratios to their baseline's are others."""
    counts = _tally(step.verdict for step in steps)
    num_compared = sum(counts.get(verdict, 0) for verdict in (BETTER, WORSE, UNRESOLVED))
    if not num_compared:
        return "Cost of a step: there is no ratio to the baseline that both studies measured."
    changed = [step for step in steps if step.verdict in (BETTER, WORSE)]
    start = "Cost of a step as a multiple of the baseline's: "
    if not changed:
        return f"{start}{'all ' if num_compared > 1 else ''}{counted(num_compared, 'ratio')} within noise."
    start += f"{counts.get(UNRESOLVED, 0)} of {counted(num_compared, 'ratio')} within noise"
    said = [
        f"{_step_text(step)} {' in A, '.join(map(step_ratio_text, step.ratios))} in B" for step in changed
    ]
    return f"{start}, {len(changed)} changed: {_listed(said, mark='; ')}."


def counts_text(comparison: Comparison) -> str:
    """Return how many steps' counted operations are the same."""
    counts = _tally(one.verdict for one in comparison.counts)
    compared = counts.get(IDENTICAL, 0) + counts.get(CHANGED, 0)
    alone = f"; {counts[NOT_COMPARABLE]} more in one study alone" if counts.get(NOT_COMPARABLE) else ""
    if not compared:
        return f"Counted operations: no step was counted in both studies{alone}."
    changed = counts.get(CHANGED, 0)
    what = (
        f"{changed} of {counted(compared, 'step')} changed" if changed else f"equal in all {compared} steps"
    )
    return f"Counted operations, to the last digit: {what}{alone}."


def claims_text(claims: Sequence[ComparedClaim]) -> str:
    """Return how many claims have the same verdict in both, and which have another."""
    unlike = [one for one in claims if one.first.verdict != one.second.verdict]
    if not unlike:
        return f"Claims of the literature: all {len(claims)} have the same verdict in both."
    said = [f"{one.entry.name}: {one.first.verdict} in A, {one.second.verdict} in B" for one in unlike]
    return (
        f"Claims of the literature: {len(claims) - len(unlike)} of {len(claims)} have the same verdict in both, "
        f"{len(unlike)} another: {_listed(said, mark='; ')}."
    )


def chance_text(cells: Sequence[ComparedCell]) -> str:
    """Return how many differences could have been resolved, how many were, and how many chance alone resolves."""
    tested = [one for cell in cells for one in cell.differences if one.verdict in TESTED]
    decided = [one for one in tested if not one.unpaired and one.pairs >= LEAST_PAIRS]
    if not decided:
        return ""
    resolved = sum(one.verdict != UNRESOLVED for one in decided)
    by_chance = f"{SIGNIFICANCE * len(decided):.2g}"
    return (
        f"{counted(len(decided), 'difference')} {'was' if len(decided) == 1 else 'were'} tested, each for itself at "
        f"{percent_text(SIGNIFICANCE)}, and {resolved} resolved; chance alone would resolve {by_chance} of so many on "
        "average, or fewer."
    )


def difference_text(one: Difference) -> str:
    """Return B − A, or B / A, with its interval.

    >>> difference_text(Difference("test_loss", 0.5, 0.6, 0.1, 0.05, 0.14, 0.03, 6, 0, "worse"))
    '+0.100 [0.050, 0.140]'
    >>> difference_text(Difference("test_loss", 0.5, 0.5, 1e-7, -2e-8, 3e-7, 0.5, 6, 0, "not resolved"))
    '+1.0e−07 [−2.0e−08, +3.0e−07]'
    """
    if not one.pairs:
        return ABSENT
    if QUANTITIES[one.metric][0] == "ratio":
        return ratio_text(one.mean, one.low, one.high)
    numbers = (one.mean, one.low, one.high)
    if is_visible(one):
        return Quantity(f"{'+' if one.mean > 0 else ''}{interval_text(*numbers)}", *numbers)
    mean, low, high = (f"{value:+.1e}".replace("-", "−") for value in numbers)
    return Quantity(mean if math.isnan(one.low) else f"{mean} [{low}, {high}]", *numbers)


def is_visible(one: Difference) -> bool:
    """Return whether a difference is more than nothing at the four digits that are written."""
    even = 1.0 if QUANTITIES[one.metric][0] == "ratio" else 0.0
    values = [value for value in (one.mean, one.low, one.high) if math.isfinite(value)]
    return bool(values) and max(abs(value - even) for value in values) >= LEAST_WRITTEN


def settings_text(otherwise: Sequence[Fact]) -> str:
    """Return the settings that differ, with both values; a dash where none does."""
    return _listed([fact_text(fact) for fact in otherwise]) if otherwise else ABSENT


def step_ratio_text(row: Row | None) -> str:
    """Return a row of `step_ratios` with its interval; a dash where there is none."""
    return ABSENT if row is None else ratio_text(row["ratio"], row["low"], row["high"])


def _runs_text(cells: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield how many runs are the same, of those that both studies hold."""
    counts = _tally(run["verdict"] for cell in cells for run in cell.runs)
    if counts:
        yield f"Of {counted(sum(counts.values()), 'run')} that both studies hold, {_shares(counts, _RUNS)}."


def _cells_text(cells: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield how many cells have which verdict."""
    counts = _tally(cell.verdict for cell in cells)
    if counts:
        yield f"Of {counted(len(cells), 'cell')} that both studies have, {_shares(counts, _CELLS)}."


def _changed_texts(cells: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield for each cell that changed what of its results is resolved; of many, those of the first ones."""
    changed = [cell for cell in cells if cell.verdict == CHANGED]
    for cell in changed[:MOST_NAMED]:
        said = [
            f"{TITLES[one.metric].lower()} {difference_text(one)}, {one.verdict}"
            for one in cell.differences
            if one.verdict in (BETTER, WORSE)
        ]
        yield f"Changed in B: {_cell_text(cell)}: {'; '.join(said)}."
    if len(changed) > MOST_NAMED:
        yield f"{counted(len(changed) - MOST_NAMED, 'more cell')} changed: the tables below tell of them."
    if changed:
        yield chance_text(cells)


def _few_seeds_text(cells: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield that nothing could have been resolved, where there are too few pairs for it."""
    pairs = [one.pairs for cell in cells if cell.verdict == UNRESOLVED for one in cell.differences]
    if pairs and max(pairs) < LEAST_PAIRS:
        yield (
            f"With {counted(max(pairs), 'pair')} of runs no difference can be resolved: the sign-flip test needs "
            f"{LEAST_PAIRS} or more."
        )


def _open_texts(comparison: Comparison) -> Iterator[str]:
    """Yield what cannot be compared, and why."""
    by_reason: dict[str, list[str]] = {}
    for cell in comparison.cells:
        if cell.reason:
            by_reason.setdefault(cell.reason, []).append(_cell_text(cell))
    for reason, names in by_reason.items():
        yield f"Cannot be compared, {reason}: {_listed(names)}."
    for name, alone in (("A", comparison.only_first), ("B", comparison.only_second)):
        if alone:
            yield f"In {name} alone: {_listed(alone)}."
    partly = [cell for cell in comparison.cells if cell.left_out]
    if partly:
        yield (
            f"In {counted(len(partly), 'cell')} only seeds that both studies have are compared; "
            f"{counted(sum(len(cell.left_out) for cell in partly), 'run')} of one study alone are left out."
        )


def _otherwise_texts(cells: Sequence[ComparedCell]) -> Iterator[str]:
    """Yield with which other settings which cells were trained."""
    alike: dict[str, list[str]] = {}
    for cell in cells:
        if cell.otherwise:
            alike.setdefault(_listed([fact_text(fact) for fact in cell.otherwise]), []).append(
                _cell_text(cell)
            )
    if len(alike) > MOST_SPELT_OUT:
        names = dict.fromkeys(fact.what for cell in cells for fact in cell.otherwise)
        number = sum(bool(cell.otherwise) for cell in cells)
        yield f"Trained with other settings: {counted(number, 'cell')} ({_listed([*names])}); the tables say which."
        return
    for text, named in alike.items():
        yield f"Trained with other settings, {text}: {_listed(named)}."


def _made_text(facts: Sequence[Facts]) -> str:
    """Return which kinds of what made the studies differ."""
    unlike = [f"{one.kind.lower()} ({len(one.differing)} of {one.total})" for one in facts if one.differing]
    if not unlike:
        return "Code, config, data, machine and software are the same in both."
    same = [one.kind.lower() for one in facts if not one.differing]
    rest = f"; the same in both: {joined(same)}" if same else ""
    return f"Made otherwise in {joined(unlike)}{rest}."


def _copies_text(comparison: Comparison) -> Iterator[str]:
    """Yield that runs are copies of each other, which proves nothing."""
    if comparison.copies:
        yield (
            f"{counted(comparison.copies, 'run record')} of {len(comparison.second.records)} in B "
            f"{'is a copy' if comparison.copies == 1 else 'are copies'} of A's: that they agree proves nothing."
        )


def _nothing_text(comparison: Comparison) -> str:
    if not comparison.cells:
        return "Nothing can be compared: the studies share no cell."
    reasons = dict.fromkeys(cell.reason for cell in comparison.cells)
    return f"Nothing can be compared: {_listed([*reasons], mark='; ')}."


def _cell_text(cell: ComparedCell) -> str:
    return f"{cell.method} ({cell.experiment.title})"


def _step_text(step: ComparedStep) -> str:
    return f"{step.method} ({step.experiment.title}, {step.engine}, {device_text(step.device)})"


def _listed(names: Sequence[str], *, mark: str = ", ") -> str:
    """Return names as a sentence lists them, and of many how many more there are.

    >>> _listed(["a"]), _listed(list("abcdefgh"))
    ('a', 'a, b, c, d, e, f and 2 more')
    """
    shown = mark.join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more"


def _shares(counts: Mapping[str, int], texts: Mapping[str, str]) -> str:
    """Return how many have which verdict, in these words.

    >>> _shares({"x": 2}, {"x": "equal"}), _shares({"y": 1, "x": 2}, {"x": "equal", "y": "other"})
    ('all are equal', '2 are equal and 1 is other')
    """
    said = [
        f"{counts[verdict]} {'is' if counts[verdict] == 1 else 'are'} {text}"
        for verdict, text in texts.items()
        if verdict in counts
    ]
    return joined(said) if len(counts) > 1 else f"all are {texts[next(iter(counts))]}"


def _tally(verdicts: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for verdict in verdicts:
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


_RUNS = {
    IDENTICAL: "the same to the last bit",
    WITHIN: "within the tolerance of the regeneration check",
    DIFFERS: "different",
}

_CELLS = {
    IDENTICAL: "identical",
    WITHIN: "within tolerance",
    CHANGED: "changed",
    UNRESOLVED: "different with no result resolved (within noise, or too few seeds to tell)",
    NOT_COMPARABLE: "not comparable",
}
