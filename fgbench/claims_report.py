"""The claims of the literature, judged, go in; the section of the report that shows them comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fgbench.claims import PARAPHRASED, QUOTED, Entry, Judged, overview
from fgbench.cost_findings import measured_on
from fgbench.findings import Tables
from fgbench.forest import MARKS, ROWS_DRAWN, Tally, forest_chart, marks_text, tally_chart
from fgbench.headings import HEADINGS
from fgbench.judgements import (
    AGAINST,
    FAILS,
    FOR,
    HOLDS,
    OPEN,
    PARTLY,
    UNRESOLVED,
    UNTESTED,
    VERDICTS,
    Judgement,
    Measured,
)
from fgbench.pieces import Chart, Source, Table, numbers, words
from fgbench.wording import ABSENT, capital, counted, joined, p_text


@dataclass(frozen=True)
class Verdict:
    """A verdict as it is shown: its name in the style sheet, what tells it without colour, and its words."""

    state: str
    sign: str
    words: str


@dataclass(frozen=True)
class Line:
    """A claim in the summary: where it is told in full, whose it is, and what was found."""

    key: str
    name: str
    cite: str
    verdict: Verdict
    reason: str
    figure: str
    quantity: str


@dataclass(frozen=True)
class Article:
    """A claim in full: its words and source, what was tested, what was found, and the comparisons behind it."""

    key: str
    name: str
    claim: str
    is_quoted: bool
    cite: str
    source: str
    evidence: str
    needs: str
    verdict: Verdict
    reason: str
    notes: Sequence[str]
    chart: Chart | None
    table: Table | None


@dataclass(frozen=True)
class Claims:
    """All that the report shows of the literature's claims; `untested` are those that this study says nothing about."""

    counts: Sequence[str]
    tally: Chart | None
    lines: Sequence[Line]
    articles: Sequence[Article]
    untested: Sequence[Article]


def claims_section(found: Sequence[Judged], tables: Tables) -> Claims:
    """Return what the report shows of claims that were judged by these tables."""
    every = [_article(one, tables) for one in found]
    return Claims(
        counts=overview(found),
        tally=_tally_chart(found),
        lines=[
            Line(
                article.key,
                one.entry.name,
                one.entry.cite,
                article.verdict,
                one.judgement.reason if one.judgement.verdict == PARTLY else "",
                one.judgement.figure,
                one.judgement.quantity,
            )
            for one, article in zip(found, every, strict=True)
        ],
        articles=[article for article in every if article.verdict != _VERDICTS[UNTESTED]],
        untested=[article for article in every if article.verdict == _VERDICTS[UNTESTED]],
    )


def _article(one: Judged, tables: Tables) -> Article:
    entry, judgement = one.entry, one.judgement
    key = f"claim-{entry.id.replace('_', '-')}"
    machine = measured_on(tables) if judgement.timed else ""
    return Article(
        key=key,
        name=entry.name,
        claim=entry.claim,
        is_quoted=entry.words == QUOTED,
        cite=entry.cite,
        source=entry.source,
        evidence=f"{entry.words if entry.words == PARAPHRASED else 'quoted'}; {entry.evidence}",
        needs=entry.needs,
        verdict=_VERDICTS[judgement.verdict],
        reason=judgement.reason,
        notes=[note for note in (judgement.note, entry.note) if note],
        chart=_chart(judgement, entry, key, machine),
        table=_table(judgement, entry.name, machine),
    )


def finding_text(judgement: Judgement) -> str:
    """Return what was measured, from the least figure to the greatest, and how many comparisons say what."""
    known = sorted(
        (one for one in judgement.measured if not math.isnan(one.value)), key=lambda one: one.value
    )
    if not known:
        return ""
    quantity = capital(judgement.quantity)
    same = len({one.what for one in known}) == 1
    if same:
        quantity += f", {known[0].what}"
    ends = [
        f"{one.text} ({one.where}{'' if same else f': {one.what}'})"
        for one in (known[0], known[-1])[: len(known)]
    ]
    return f"{quantity}: {' to '.join(ends)}. {_tally(judgement.measured)}"


def _tally(found: Sequence[Measured]) -> str:
    """Return how many comparisons speak for a claim, how many against it, and how many are not resolved."""
    counts = {says: sum(one.says == says for one in found) for says in _SAYS}
    (first, *rest) = [says for says, number in counts.items() if number]
    if not rest and first == OPEN and len(found) > 1:
        return "Neither is resolved." if len(found) == 2 else f"None of {len(found)} comparisons is resolved."
    if not rest:
        verb = _VERBS[first][len(found) > 1]
        which = {1: "The one comparison", 2: "Both comparisons"}.get(
            len(found), f"All {len(found)} comparisons"
        )
        return f"{which} {verb}."
    parts = [f"{counts[says]} {_VERBS[says][counts[says] > 1]}" for says in (first, *rest)]
    return f"Of {counted(len(found), 'comparison')}, {joined(parts)}."


def _tally_chart(found: Sequence[Judged]) -> Chart | None:
    """Return what the comparisons say to every claim that was tested, by its verdict."""
    tested = [one for one in found if one.judgement.verdict != UNTESTED]
    ordered = sorted(tested, key=lambda one: VERDICTS.index(one.judgement.verdict))
    tallies = [
        Tally(
            _VERDICTS[one.judgement.verdict].words,
            capital(one.entry.name),
            [comparison.says for comparison in one.judgement.measured],
        )
        for one in ordered
    ]
    if not tallies:
        return None
    title = "Claims by verdict"
    every = [comparison for one in ordered for comparison in one.judgement.measured]
    said = joined([f"{one.entry.name}: {_VERDICTS[one.judgement.verdict].words.lower()}" for one in ordered])
    return Chart(
        [tally_chart(tallies, key="tally", title=title, description=f"{said}.")],
        f"{counted(len(tested), 'claim')} tested by {counted(len(every), 'comparison')}. A mark is a comparison: "
        f"{marks_text(_SAYS, every)}.",
        title=title,
        sources=[Source("claims"), Source("claim_comparisons")],
    )


def _chart(judgement: Judgement, entry: Entry, key: str, machine: str) -> Chart | None:
    drawn = [one for one in judgement.measured if not math.isnan(one.value)]
    if not drawn:
        return None
    shared, shown = _told_once(drawn)
    svg = forest_chart(
        shown,
        quantity=judgement.quantity,
        words=_SAYS,
        key=key,
        title=f"{entry.name}: {judgement.quantity}",
        limits=judgement.limits,
    )
    more = (
        f" {ROWS_DRAWN} of {len(drawn)} are drawn, the table has them all." if len(drawn) > ROWS_DRAWN else ""
    )
    marks = marks_text(_SAYS, drawn)
    bounds = "; a broken line is a bound of the claim" if judgement.limits else ""
    return Chart(
        [svg],
        f"{finding_text(judgement)} Figures{shared} with their 95 % intervals: {marks}{bounds}.{more} "
        f"{machine}".strip(),
        title=capital(entry.name),
        sources=[Source("claim_comparisons", {"claim": entry.id})],
    )


def _told_once(drawn: Sequence[Measured]) -> tuple[str, list[Measured]]:
    """Return what all comparisons begin with, for the caption, and them without it: a row has little room."""
    heads, _, rests = zip(*(one.what.partition(", ") for one in drawn), strict=True)
    if len(drawn) < 2 or len({*heads}) > 1 or not all(rests):
        return "", list(drawn)
    return f" of {heads[0]}", [replace(one, what=rest) for one, rest in zip(drawn, rests, strict=True)]


def _table(judgement: Judgement, name: str, machine: str) -> Table | None:
    if not judgement.measured:
        return None
    rows = [
        [
            one.where,
            one.what,
            one.text,
            ABSENT
            if math.isnan(one.p_value)
            else p_text(one.p_value).removeprefix("p = ").removeprefix("p "),
            f"{MARKS[one.says]} {_SAYS[one.says]}",
        ]
        for one in judgement.measured
    ]
    columns = [
        *words("Where", "Comparison"),
        *numbers("Figure [95 % interval]"),
        *numbers("p", about=HEADINGS["p of a claim"]),
        *words("Says"),
    ]
    caption = f"{name}: {judgement.quantity}; – where not every pair of runs is complete. {machine}".strip()
    return Table(caption, columns, rows)


_SAYS = {FOR: "for the claim", AGAINST: "against it", OPEN: "not resolved"}

_VERBS = {
    FOR: ("speaks for the claim", "speak for the claim"),
    AGAINST: ("speaks against it", "speak against it"),
    OPEN: ("is not resolved", "are not resolved"),
}
"""What one comparison does, and several."""

_VERDICTS = {
    HOLDS: Verdict("holds", "✓", "Holds"),
    PARTLY: Verdict("partly", "◐", "Holds only if"),
    FAILS: Verdict("fails", "✗", "Does not hold"),
    UNRESOLVED: Verdict("unresolved", "?", "Not resolved"),
    UNTESTED: Verdict("untested", "–", "Cannot be tested here"),
}
