"""What a reader points at in the report: values of marks, methods in a legend, titles in the contents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from browsing import TORN, Report, of_method, visit

from fgbench.svg import drawing, inlined
from fgbench.svg import of_method as drawn_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser


Point = tuple[float, float]


def told(page: Page) -> str | None:
    """Return what is said of the mark that is pointed at, if there is one."""
    tip = page.locator(".tip")
    return tip.inner_text() if tip.is_visible() else None


def told_at(page: Page, chart: Locator, place: Point) -> str | None:
    """Return what is said where one points at a place of a chart's own coordinates."""
    chart.scroll_into_view_if_needed()
    at = chart.evaluate(
        "(svg, [x, y]) => { const { x: left, y: top } = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());"
        " return [left, top]; }",
        place,
    )
    page.mouse.move(*at)
    return told(page)


def place_of(mark: Locator) -> Point:
    return float(mark.get_attribute("x") or ""), float(mark.get_attribute("y") or "")


def numbers(text: str | None) -> list[float]:
    assert text is not None
    return [float(one.replace(",", "")) for one in re.findall(r"≈ (\S+)", text)]


def chart_of(scale: dict[str, Any], points: Sequence[Point]) -> str:
    """Return a chart of these points whose axes are both of that scale, from 0.01 or 0 to 1000."""
    with drawing("made", height=2.75) as figure:
        axes = figure.add_axes((0.12, 0.15, 0.85, 0.73))
        axes.set_xscale(**scale)
        axes.set_yscale(**scale)
        low = 0.01 if scale["value"] == "log" else 0
        axes.set_xlim(low, 1000)
        axes.set_ylim(low, 1000)
        with drawn_of(axes, TORN[1]):
            axes.plot(*zip(*points, strict=True), "o")
        axes.axhline(500)
        axes.set_xlabel("steps")
        axes.set_ylabel("loss")
        return inlined(figure, "made", "T", "D")


@pytest.mark.parametrize(
    "scale",
    [{"value": "linear"}, {"value": "log"}, {"value": "symlog", "linthresh": 5.0, "linscale": 0.35}],
    ids=lambda scale: str(scale["value"]),
)
def test_what_is_pointed_at_tells_its_numbers_whatever_the_scale(
    browser: Browser, smoke: Report, scale: dict[str, Any]
) -> None:
    points = [(200.0, 0.5), (3.0, 700.0), (12.0, 60.0), (900.0, 900.0)]
    with visit(browser, smoke.address) as page:
        panel = page.locator("figure.curves .panel").first
        panel.evaluate("(panel, svg) => { panel.innerHTML = svg; }", chart_of(scale, points))
        chart = panel.locator("svg")
        marks = chart.locator(".mark use")
        assert marks.count() == len(points)
        for mark, point in zip(marks.all(), points, strict=True):
            text = told_at(page, chart, place_of(mark))
            assert str(text).splitlines()[0] == TORN[1]
            assert re.findall("(steps|loss) ≈", str(text)) == ["steps", "loss"]
            assert numbers(text) == pytest.approx(
                point, rel=0.01, abs=0.1 if scale["value"] == "linear" else 0
            )


def test_what_lies_beyond_a_scale_is_told_no_number(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        panel = page.locator("figure.curves .panel").first
        panel.evaluate(
            "(panel, svg) => { panel.innerHTML = svg; }", chart_of({"value": "linear"}, [(500, 1000)])
        )
        chart = panel.locator("svg")
        assert told_at(page, chart, place_of(chart.locator(".mark use"))) is None


def test_the_ends_of_runs_tell_what_the_tables_hold(browser: Browser, smoke: Report) -> None:
    ends = smoke.tables["curves"].sort_values("step").groupby(["model", "method", "seed"]).last()
    with visit(browser, smoke.address) as page:
        chart = page.locator("figure.curves .panel svg").nth(1)
        model = re.findall(
            r"^Test loss against steps, (\w+) on", chart.locator("title").first.text_content() or ""
        )
        marks = chart.locator(".mark:not(.seeds) use").all()
        assert len(marks) == len(ends.loc[model])
        for mark in marks:
            text = told_at(page, chart, place_of(mark))
            steps, loss = numbers(text)
            own = ends.loc[(model[0], str(text).splitlines()[0])]
            assert any(row["test_loss"] == pytest.approx(loss, rel=0.01) for _, row in own.iterrows())
            assert any(row["step"] == pytest.approx(steps, rel=0.01) for _, row in own.iterrows())


def test_a_seed_can_be_pointed_at_once_every_seed_is_shown(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        figure = page.locator("figure.curves").first
        chart = figure.locator(".panel svg").first
        path = chart.locator(".mark.seeds > path").first.get_attribute("d") or ""
        vertices = [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)][1:12]
        medians = [told_at(page, chart, vertex) for vertex in vertices]
        figure.get_by_role("checkbox", name="every seed").check()
        runs = [told_at(page, chart, vertex) for vertex in vertices]
        assert None not in runs
        assert len(set(runs)) > len(set(medians) - {None})


def test_away_from_a_mark_and_while_the_page_moves_nothing_is_told(browser: Browser, smoke: Report) -> None:
    from playwright.sync_api import expect

    with visit(browser, smoke.address) as page:
        chart = page.locator("figure.curves .panel svg").first
        assert told_at(page, chart, place_of(chart.locator(".mark use").first))
        page.mouse.move(1, 1)
        assert told(page) is None
        assert told_at(page, chart, place_of(chart.locator(".mark use").first))
        page.mouse.wheel(0, 300)
        expect(page.locator(".tip")).to_be_hidden()


# Legends


def test_a_method_pointed_at_in_a_legend_stands_out_in_its_figure(browser: Browser, torn: Report) -> None:
    with visit(browser, torn.address) as page:
        figures = page.locator("figure.curves .picture")
        for method in TORN[:3]:
            figures.first.locator(f".legend {of_method(method)} button").focus()
            assert faded(figures.first) == set(TORN) - {method}
            assert faded(figures.nth(1)) == set()


def test_a_click_in_a_legend_hides_its_method_everywhere(browser: Browser, torn: Report) -> None:
    with visit(browser, torn.address) as page:
        entries = page.locator(f".legend {of_method(TORN[1])}")
        assert entries.count() > 2
        entries.first.get_by_role("button").press("Enter")
        assert entries.evaluate_all("all => all.filter(one => one.checkVisibility()).length") == 0
        assert not page.get_by_role("checkbox", name=TORN[1], exact=True).is_checked()
        assert page.locator(f".legend {of_method(TORN[0])}").first.is_visible()


def faded(picture: Locator) -> set[str]:
    """Return the methods whose lines are drawn faintly."""
    found: list[str] = picture.locator("g[data-method]").evaluate_all(
        "all => all.filter(one => getComputedStyle(one).opacity < 1).map(one => one.dataset.method)"
    )
    return set(found)


# Contents


def test_contents_are_searched_by_words(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        links = page.locator("nav .sections a")
        sections = shown(page.locator("nav .sections > li > a"))
        sought = page.get_by_role("searchbox", name="Search the contents")
        sought.fill("curves LEARNING")
        found = shown(links)
        assert len([one for one in found if re.match(r"\d+ Learning curves", one)]) == (
            page.locator("figure.curves").count()
        )
        assert "Glossary" in sections
        assert "Glossary" not in found
        sought.press("Enter")
        page.wait_for_url("**#*")
        sought.fill("no such thing")
        assert shown(links) == []
        sought.press("Escape")
        assert shown(page.locator("nav .sections > li > a")) == sections


def shown(links: Locator) -> list[str]:
    found: list[str] = links.evaluate_all(
        "all => all.filter(one => one.checkVisibility()).map(one => one.innerText)"
    )
    return found
