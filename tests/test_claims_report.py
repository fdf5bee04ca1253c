"""The report's section on the literature's claims: complete, true to its verdicts, marked without colour, escaped."""

from __future__ import annotations

import itertools
import re
from functools import cache

import pandas as pd
import pytest
import records
from markupsafe import escape
from test_report import Outline, report, section, text_of

from fgbench.claims import CLAIMS_FILE, Entry, Judged, judged_claims, overview, read_claims
from fgbench.claims_report import Claims, claims_section, finding_text
from fgbench.forest import ROWS_DRAWN, Tally, forest_chart, tally_chart
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
from fgbench.tables import study_tables

HOSTILE = '<script>alert("1")</script>: a, b'
MACHINE = "A processor, 1 thread, torch 2.13.0; never part of the regeneration check"
RUNS = records.run_records(num_seeds=6)[4:8]
"""One experiment's, the multilayer network's."""


@cache
def tables() -> dict[str, pd.DataFrame]:
    cost, scaling = records.cost_record(RUNS, noise=0.0, rounds=8), records.scaling_record(noise=0.0)
    return study_tables(RUNS, cost=cost, scaling=scaling)


@cache
def page() -> str:
    return report(RUNS, tables=tables())


def the_section(markup: str) -> str:
    found = markup[markup.index('<section id="claims"') :]
    return found[: found.index("</section>")]


def measured(
    says: str, value: float = 2.0, *, where: str = "mlp on penguins", what: str = "a against b"
) -> Measured:
    return Measured(where, what, value, value * 0.9, value * 1.1, 0.002, says)


JUDGEMENTS = {
    HOLDS: Judgement(HOLDS, "", "steps", "2.0× [1.8, 2.2]", measured=[measured(FOR)]),
    PARTLY: Judgement(
        PARTLY, "the case is cnn", "steps", "2.0×", "a note", [measured(FOR), measured(AGAINST)]
    ),
    FAILS: Judgement(FAILS, "", "steps", "2.0×", measured=[measured(AGAINST)], limits=(0.5,)),
    UNRESOLVED: Judgement(UNRESOLVED, "open in 1", "steps", "2.0×", measured=[measured(OPEN)], timed=True),
    UNTESTED: Judgement(UNTESTED, "everything"),
}


def one_of_each() -> list[Judged]:
    entries = read_claims(CLAIMS_FILE)
    return [Judged(entry, JUDGEMENTS[verdict]) for entry, verdict in zip(entries, VERDICTS, strict=False)]


def shown() -> Claims:
    return claims_section(one_of_each(), tables())


def test_every_verdict_has_a_sign_and_words_of_its_own() -> None:
    verdicts = [line.verdict for line in shown().lines]
    assert len({one.sign for one in verdicts}) == len({one.words for one in verdicts}) == len(VERDICTS)
    assert len({one.state for one in verdicts}) == len(VERDICTS)


def test_what_was_judged_is_told_in_full_and_what_was_not_in_short() -> None:
    found = shown()
    assert [article.verdict.words for article in found.articles] == [
        "Holds",
        "Holds only if",
        "Does not hold",
        "Not resolved",
    ]
    assert [article.reason for article in found.untested] == ["everything"]
    assert found.counts == overview(one_of_each())


def test_a_claim_stands_with_its_words_source_test_finding_and_notes() -> None:
    found = shown().articles[1]
    entry = read_claims(CLAIMS_FILE)[1]
    assert (found.claim, found.cite, found.needs) == (entry.claim, entry.cite, entry.needs)
    assert found.notes == ["a note", entry.note] if entry.note else ["a note"]
    assert found.chart
    assert found.chart.caption.startswith(
        "Steps, a against b: 2.0× [1.8, 2.2] (mlp on penguins) to 2.0× [1.8, 2.2] (mlp on penguins). Of 2 comparisons, "
        "1 speaks for the claim and 1 speaks against it."
    )


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ([FOR], "The one comparison speaks for the claim."),
        ([FOR] * 2, "Both comparisons speak for the claim."),
        ([AGAINST] * 3, "All 3 comparisons speak against it."),
        ([OPEN], "The one comparison is not resolved."),
        ([OPEN] * 2, "Neither is resolved."),
        ([OPEN] * 4, "None of 4 comparisons is resolved."),
        ([FOR, OPEN, OPEN], "Of 3 comparisons, 1 speaks for the claim and 2 are not resolved."),
    ],
)
def test_comparisons_are_counted_by_what_they_say(says: list[str], text: str) -> None:
    found = Judgement(HOLDS, measured=[measured(one) for one in says], quantity="steps")
    assert finding_text(found).endswith(f"). {text}")


def test_a_finding_goes_from_the_least_figure_to_the_greatest() -> None:
    found = [measured(FOR, 4.0, where="cnn"), measured(FOR, 2.0), measured(FOR, 3.0)]
    text = finding_text(Judgement(HOLDS, measured=found, quantity="steps"))
    assert text.startswith(
        "Steps, a against b: 2.0× [1.8, 2.2] (mlp on penguins) to 4.0× [3.6, 4.4] (cnn). All 3"
    )
    mixed = [measured(FOR), measured(FOR, 3.0, what="c against d")]
    text = finding_text(Judgement(HOLDS, measured=mixed, quantity="steps"))
    assert text.startswith(
        "Steps: 2.0× [1.8, 2.2] (mlp on penguins: a against b) to 3.0× [2.7, 3.3] (mlp on penguins: c against d). Both"
    )
    assert finding_text(JUDGEMENTS[UNTESTED]) == ""


def test_the_table_of_a_claim_has_every_comparison() -> None:
    (table,) = [article.table for article in shown().articles if article.verdict.state == "partly"]
    assert table is not None
    assert [list(row) for row in table.rows] == [
        ["mlp on penguins", "a against b", "2.0× [1.8, 2.2]", "0.002", "● for the claim"],
        ["mlp on penguins", "a against b", "2.0× [1.8, 2.2]", "0.002", "× against it"],
    ]


def test_what_rests_on_times_names_the_machine() -> None:
    by_state = {article.verdict.state: article for article in shown().articles}
    for state, article in by_state.items():
        assert article.chart is not None
        assert article.table is not None
        assert (
            (MACHINE in article.chart.caption)
            == (MACHINE in article.table.caption)
            == (state == "unresolved")
        )


def forest(found: list[Measured], **changes: object) -> str:
    words = {FOR: "for it", AGAINST: "against it", OPEN: "not resolved"}
    options = {"quantity": "steps", "words": words, "key": "k", "title": "t"} | changes
    return forest_chart(found, **options)  # type: ignore[arg-type]


def test_a_forest_names_every_comparison_with_its_figure() -> None:
    text = text_of(
        forest([measured(FOR), measured(AGAINST, 0.5, where="cnn", what="c against d")], limits=(0.5,))
    )
    for part in (
        "mlp on penguins",
        "a against b",
        "2.0× [1.8, 2.2]",
        "cnn",
        "c against d",
        "0.50× [0.45, 0.55]",
        "c against d: 0.50× [0.45, 0.55] (against it)",
    ):
        assert part in text


def test_a_row_of_a_forest_leaves_with_its_method() -> None:
    svg = forest([measured(FOR), measured(FOR, 3.0, what="c against d")], methods=["a", "c"])
    assert 'data-method="a"' in svg
    assert 'data-method="c"' in svg
    assert "data-method" not in forest([measured(FOR)])


def test_a_tally_names_each_claim_below_its_verdict_with_a_mark_a_comparison() -> None:
    tallies = [
        Tally("Holds", "one", [FOR] * (ROWS_DRAWN + 3)),
        Tally("Fails", "other", [AGAINST, OPEN]),
        Tally("Fails", HOSTILE, []),
    ]
    svg = tally_chart(tallies, key="k", title="t", description="d")
    text = text_of(svg)
    assert all(text.count(part) == 1 for part in ("Holds", "one", "+3", "Fails", "other", HOSTILE[:20]))
    assert len(re.findall(r'class="mark"', svg)) == ROWS_DRAWN + 2


def test_the_section_opens_with_every_tested_claim_by_verdict_and_offers_the_comparisons() -> None:
    chart = shown().tally
    assert chart is not None
    text = text_of(chart.svgs[0])
    tested = [one for one in one_of_each() if one.judgement.verdict != UNTESTED]
    places = [text.index(f"{one.entry.name[:1].upper()}{one.entry.name[1:]}"[:30]) for one in tested]
    assert places == sorted(places)
    assert "4 claims tested by 5 comparisons" in chart.caption
    assert [source.table for source in chart.sources] == ["claims", "claim_comparisons"]
    assert claims_section([Judged(one.entry, Judgement(UNTESTED)) for one in tested], tables()).tally is None


def test_a_place_is_named_once_where_several_comparisons_were_made_there() -> None:
    svg = forest([measured(FOR), measured(FOR, 3.0, what="c against d")])
    assert text_of(re.sub("<desc.*</desc>", "", svg)).count("mlp on penguins") == 1


@pytest.mark.parametrize("scale", ["ratio", "difference", "number"])
@pytest.mark.parametrize("value", [-0.5, 0.0, 1e-4, 1.0, 2e4, float("inf")])
def test_a_forest_draws_whatever_there_is_to_draw(value: float, scale: str) -> None:
    if scale == "ratio" and value < 0:
        return
    nan = float("nan")
    drawn = [
        Measured("a", "b", value, nan, nan, nan, AGAINST, scale),  # type: ignore[arg-type]
        Measured("a", "c", 1.0, 0.9, 1.1, 0.1, OPEN, scale),  # type: ignore[arg-type]
    ]
    assert "NaN" not in forest(drawn)
    assert "nan" not in forest(drawn)


def test_a_forest_of_many_comparisons_is_cut_and_the_table_is_not() -> None:
    many = [measured(FOR, what=f"method {place} against b") for place in range(30)]
    entry = read_claims(CLAIMS_FILE)[0]
    found = claims_section([Judged(entry, Judgement(HOLDS, "", "steps", "2×", "", many))], tables()).articles[
        0
    ]
    assert found.chart is not None
    assert found.table is not None
    assert f"{ROWS_DRAWN} of 30 are drawn, the table has them all" in found.chart.caption
    assert f"method {ROWS_DRAWN - 1} against" in found.chart.svgs[0]
    assert f"method {ROWS_DRAWN} against" not in found.chart.svgs[0]
    assert len(found.table.rows) == 30


def test_the_page_shows_every_claim_and_leads_to_each() -> None:
    found = Outline(page())
    links = {link[1:] for link in found.links if link.startswith("#claim-")}
    assert len(links) == len(read_claims(CLAIMS_FILE))
    assert links <= set(found.ids)
    assert "claims" in {link[1:] for link in found.links}


def test_the_page_holds_the_words_the_source_and_the_evidence_of_each_claim() -> None:
    text = section(page(), "claims")
    for entry in read_claims(CLAIMS_FILE):
        for part in (entry.claim, entry.cite, entry.source, entry.evidence):
            assert re.sub(r"\s+", " ", part) in text


def test_quoted_words_alone_stand_in_quotation_marks() -> None:
    text = section(page(), "claims")
    for entry in read_claims(CLAIMS_FILE):
        claim = re.sub(r"\s+", " ", entry.claim)
        assert (f"“{claim}”" in text) == (entry.words == "quoted")


def test_the_verdicts_stand_in_the_overview_and_in_the_section() -> None:
    (sentence,) = overview(judged_claims(tables()))
    assert sentence in section(page(), "found")
    assert sentence in section(page(), "claims")
    assert "twice as fast by a step" in sentence


def test_the_claim_of_a_speed_up_stands_with_its_verdict_and_every_comparison() -> None:
    text = section(page(), "claims")
    assert "“training up to twice as fast in some cases”" in text
    judged = {one.entry.id: one.judgement for one in judged_claims(tables())}
    assert judged["faster_step"].verdict == FAILS
    assert all(one.what in text for one in judged["faster_step"].measured)
    assert {one.what.partition(", ")[2] for one in judged["faster_step"].measured} == {
        "eager",
        "compiled torch.func",  # backprop by torch.func is slower than eager: to beat it proves nothing
    }


def test_the_section_is_well_formed_and_headings_leave_out_no_level() -> None:
    found = Outline(the_section(page()) + "</section>")
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(found.headings))


def test_hostile_words_of_claims_and_comparisons_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = ("name", "claim", "cite", "source", "evidence", "needs", "note")
    entry = Entry("mine", words="quoted", parameters={}, **dict.fromkeys(fields, HOSTILE))
    judgement = Judgement(
        PARTLY, HOSTILE, HOSTILE, HOSTILE, HOSTILE, [measured(FOR, where=HOSTILE, what=HOSTILE)]
    )
    found = [Judged(entry, judgement), Judged(entry, Judgement(UNTESTED, HOSTILE))]
    monkeypatch.setattr("fgbench.report.claims_in", lambda tables: found)
    markup = the_section(report(RUNS))
    assert not any(tag == "script" for tag, _ in Outline(markup + "</section>").tags)
    assert markup.count(str(escape(HOSTILE))) > 10


def test_a_study_without_measurements_judges_what_it_can() -> None:
    text = section(report(RUNS), "claims")
    assert "cannot be tested here" in text
    assert "Missing: a step of a forward gradient timed beside one of backprop." in text
    assert not re.search(r"\b(nan|inf)\b", text.lower())
