"""Every heading of a table says what it means, where it is pointed at and in the glossary, from one mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
import records
from browsing import Report
from finished import again, base_runs, finished

from fgbench.compare_report import comparison_page
from fgbench.comparing import compared
from fgbench.headings import HEADINGS, LONGEST
from fgbench.pieces import METHOD, Column, numbers, words
from fgbench.sources import PACKAGE
from fgbench.storage import read_json

MEASURED = ("forward pass", "checkpointed_backprop")
"""What is measured beside the methods of a study."""

GIVEN_BY_NAME = ("claims", "matrix")
"""Tables that templates lay out for themselves: of claims, and of classes by classes."""


@dataclass(frozen=True)
class Heading:
    """A heading as a page has it: its text, what it says when it is pointed at, the class of its table."""

    text: str
    title: str | None
    of: str | None


class Page(HTMLParser):
    """The headings of a page's tables, and its list of what they mean."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.headings: list[Heading] = []
        self.listed: list[tuple[str, str]] = []
        self._table: str | None = None
        self._place, self._text, self._title = "", "", None
        self._is_list = False
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "table":
            self._table = known.get("class")
        if tag == "dl":
            self._is_list = known.get("class") == "headings"
        if (tag == "th" and known.get("scope") == "col") or (self._is_list and tag in ("dt", "dd")):
            self._place, self._text, self._title = tag, "", known.get("title")

    def handle_endtag(self, tag: str) -> None:
        if tag != self._place:
            return
        if tag == "th":
            self.headings.append(Heading(self._text, self._title, self._table))
        else:
            self.listed.append((tag, self._text))
        self._place = ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def glossary(self) -> dict[str, list[str]]:
        """Return by heading the sentences that the glossary has of it."""
        found: dict[str, list[str]] = {}
        for tag, text in self.listed:
            if tag == "dt":
                assert text not in found
                found[text] = []
            else:
                found[[*found][-1]].append(text)
        return found


@pytest.fixture(scope="module", params=["smoke", "torn"])
def named(request: pytest.FixtureRequest) -> tuple[Page, set[str]]:
    """The headings of a page, and the names of methods and features that stand as headings there."""
    report: Report = request.getfixturevalue(request.param)
    features = _features(report) if request.param == "smoke" else _features_of(records.metadata().values())
    methods = {*report.tables["cells"]["method"], *MEASURED}
    return Page(report.path.read_text(encoding="utf-8")), methods | set(features)


def _features(report: Report) -> Iterator[str]:
    return _features_of(read_json(path) for path in report.path.parent.glob("data/*.json"))


def _features_of(described: object) -> Iterator[str]:
    for one in described:  # type: ignore[attr-defined]
        yield from (name.replace("_", " ") for name in one["feature_names"])


def test_every_heading_says_what_it_means_but_those_that_are_names(named: tuple[Page, set[str]]) -> None:
    page, names = named
    names |= {f"{name}, {quantity}" for name in names for quantity in ("time", "memory")}
    assert len(page.headings) > 50
    silent = {one.text for one in page.headings if not one.title and one.of not in GIVEN_BY_NAME}
    assert silent <= names


def test_no_name_is_explained_as_if_it_were_a_heading(named: tuple[Page, set[str]]) -> None:
    page, names = named
    assert not {one.text for one in page.headings if one.title} & names


def test_the_glossary_lists_what_stands_over_the_tables_of_its_page_and_nothing_else(
    named: tuple[Page, set[str]],
) -> None:
    page, _ = named
    shown: dict[str, list[str]] = {}
    for one in page.headings:
        if one.title and one.title not in shown.setdefault(one.text, []):
            shown[one.text].append(one.title)
    assert page.glossary() == shown
    order = [text.casefold() for text in page.glossary() if not text[0].isdigit()]
    assert order == sorted(order)


def test_one_heading_that_means_several_things_has_a_sentence_for_each(torn: Report) -> None:
    listed = Page(torn.path.read_text(encoding="utf-8")).glossary()["Verdict"]
    assert HEADINGS["Verdict"] in listed
    assert HEADINGS["Verdict on a law"] in listed


def test_a_comparison_of_two_studies_explains_every_heading_too() -> None:
    runs = base_runs(2)
    markup = comparison_page(compared(finished(runs), finished(again(runs), name="other")), rendered="today")
    found = Page(markup).headings
    assert len(found) > 10
    assert [one.text for one in found if not one.title] == []


def test_each_is_one_short_sentence() -> None:
    for heading, sentence in HEADINGS.items():
        assert 10 < len(sentence) <= LONGEST, heading
        assert sentence[0].isupper() or sentence[0] in "1", heading
        assert sentence.endswith("."), heading


def test_nothing_is_explained_that_no_code_shows() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("headings.py", "cli.py")
    )
    unused = [
        heading
        for heading in HEADINGS
        if not any(f'"{one}"' in code for one in (heading, heading[:1].lower() + heading[1:]))
    ]
    assert unused == []


def test_a_column_is_explained_by_its_heading_unless_it_says_otherwise() -> None:
    assert METHOD.explanation == HEADINGS["Method"]
    assert [one.explanation for one in numbers("K", "no such heading")] == [HEADINGS["K"], ""]
    assert [one.explanation for one in words("K", about="")] == [""]
    assert Column("× any", about="As many times.").explanation == "As many times."
