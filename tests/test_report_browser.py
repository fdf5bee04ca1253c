"""The report in a real browser: wide and narrow, light and dark, on paper, by keyboard, without JavaScript."""

from __future__ import annotations

import html
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from browsing import OPEN_ALL, TORN, Report, colour, of_method, overflowing, violations, visit
from test_figures import contrast

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

VERDICTS = ("identical", "within-tolerance", "differs", "not-comparable", "not-verified")
LARGEST = 5_000_000
"""Bytes that a page may have at most."""

PHONE = {"width": 390, "has_touch": True, "is_mobile": True}
PAPER = 688
"""Pixels across A4 within its margins."""


@pytest.fixture(params=["smoke", "torn"])
def report(request: pytest.FixtureRequest) -> Report:
    found: Report = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_the_page_never_scrolls_sideways_and_asks_for_nothing(
    browser: Browser, report: Report, width: int
) -> None:
    with visit(browser, report.address, width=width) as page:
        assert overflowing(page) == []
        page.evaluate(OPEN_ALL)
        assert overflowing(page) == []


def test_the_page_is_small_enough_to_be_sent(report: Report) -> None:
    assert report.path.stat().st_size < LARGEST


@pytest.mark.parametrize(
    "options", [{"width": 1280}, PHONE | {"color_scheme": "dark"}], ids=["desktop", "dark phone"]
)
def test_axe_finds_nothing(browser: Browser, smoke: Report, options: dict[str, Any]) -> None:
    with visit(browser, smoke.address, bypass_csp=True, **options) as page:
        page.evaluate(OPEN_ALL)
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_a_small_study_lacks(browser: Browser, torn: Report, scheme: str) -> None:
    with visit(browser, torn.address, bypass_csp=True, color_scheme=scheme) as page:
        page.evaluate(OPEN_ALL)
        assert violations(page, within=["header", "#tuning", "#probes"]) == []
        assert violations(page, contrast=False, within=["html" if scheme == "light" else "#laws"]) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_verdict_stands_out_and_is_told_by_more_than_its_colour(
    browser: Browser, smoke: Report, scheme: str
) -> None:
    with visit(browser, smoke.address, color_scheme=scheme) as page:
        for state in VERDICTS:
            box = page.locator("header .verdict")
            box.evaluate("(box, state) => box.className = `verdict ${state}`", state)
            ground = colour(box if state == "differs" else page.locator("body"), "backgroundColor")
            for selector in ("strong", ".sign", "a"):
                assert contrast(colour(box.locator(selector), "color"), ground) >= 4.5
            assert contrast(colour(box, "borderTopColor"), ground) >= 3
        page.locator("header .verdict a").click()
        assert page.get_by_role("heading", name="Does a rerun give these numbers?").is_visible()
        assert page.url.endswith("#verified")


# Light and dark


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_colours_follow_the_system_until_the_reader_chooses(
    browser: Browser, smoke: Report, script: bool
) -> None:
    with visit(browser, smoke.address, color_scheme="dark", java_script_enabled=script) as page:
        dark, line = colour(page.locator("body"), "backgroundColor"), a_line(page)
        assert contrast(dark, "#ffffff") > 12
        page.get_by_role("radio", name="Light").check()
        assert colour(page.locator("body"), "backgroundColor") == "#ffffff"
        assert a_line(page) != line
        page.emulate_media(color_scheme="light")
        page.get_by_role("radio", name="Dark").check()
        assert (colour(page.locator("body"), "backgroundColor"), a_line(page)) == (dark, line)
        page.get_by_role("radio", name="System").check()
        assert colour(page.locator("body"), "backgroundColor") == "#ffffff"


def test_the_chosen_colours_are_kept(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address, color_scheme="light") as page:
        page.get_by_role("radio", name="Dark").check()
        dark = colour(page.locator("body"), "backgroundColor")
        page.reload()
        assert page.get_by_role("radio", name="Dark").is_checked()
        assert colour(page.locator("body"), "backgroundColor") == dark != "#ffffff"


def a_line(page: Page) -> str:
    """Return the colour of the second method's line in the first legend."""
    return colour(page.locator("main .legend li:nth-child(2) line"), "stroke")


# The method filter


def marked(page: Page) -> dict[str, int]:
    """Return by method how many elements that are its own, and no other's too, can be seen."""
    found: dict[str, int] = page.evaluate(
        """() => [...document.querySelectorAll("[data-method]:not([data-beside])")].reduce((counts, one) => {
            const isSeen = (one.closest("svg") ?? one).checkVisibility() && getComputedStyle(one).display !== "none";
            counts[one.dataset.method] = (counts[one.dataset.method] ?? 0) + isSeen;
            return counts; }, {})"""
    )
    return found


def test_a_hidden_method_leaves_all_figures_and_tables_and_takes_no_other_along(
    browser: Browser, torn: Report
) -> None:
    with visit(browser, torn.address) as page:
        page.evaluate(OPEN_ALL)
        before = marked(page)
        assert set(TORN) < set(before)
        for method in TORN:
            page.get_by_role("checkbox", name=method, exact=True).uncheck()
            assert marked(page) == before | {method: 0}
            page.get_by_role("checkbox", name=method, exact=True).check()
        assert marked(page) == before


def test_the_lines_that_join_two_methods_leave_with_either(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        joining = page.locator("#answer [data-beside]")
        assert joining.count() > 0
        for method in ("backprop", "forward_gradient"):
            page.get_by_role("checkbox", name=method, exact=True).uncheck()
            assert not any(one.is_visible() for one in joining.all())
            page.get_by_role("checkbox", name=method, exact=True).check()
            assert all(one.is_visible() for one in joining.all())


def test_a_column_named_for_a_method_is_that_methods(torn: Report) -> None:
    headings = re.findall(r'<th scope="col"([^>]*)>([^<]*)</th>', torn.path.read_text(encoding="utf-8"))
    method = html.escape(TORN[1])
    named = [own for own, title in headings if title == method or title.startswith(f"{method}, ")]
    assert len(named) > 2
    assert all(f'data-method="{method}"' in own for own in named)


def test_what_is_of_a_method_are_lines_rows_columns_matrices_and_galleries(
    browser: Browser, smoke: Report
) -> None:
    with visit(browser, smoke.address) as page:
        method = of_method("forward_gradient")
        for place in (
            f"figure svg g{method}",
            f".legend li{method}",
            f"tbody tr{method}",
            f"thead th{method}",
            f"tbody td{method}",
            f".matrices > {method} table",
            f"{method} .gallery img",
        ):
            assert page.locator(place).count() > 0, place


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_while_methods_are_hidden_the_page_says_so_and_offers_them_again(
    browser: Browser, smoke: Report, script: bool
) -> None:
    with visit(browser, smoke.address, java_script_enabled=script) as page:
        strip = page.get_by_text("Some methods are hidden in figures and tables.")
        row = page.locator(f"#summary tr{of_method('forward_gradient')}").first
        assert row.is_visible()
        assert not strip.is_visible()
        page.get_by_role("checkbox", name="forward_gradient", exact=True).uncheck()
        assert strip.is_visible()
        assert not row.is_visible()
        page.get_by_role("button", name="Show all").click()
        assert row.is_visible()
        assert not strip.is_visible()


# Learning curves


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_curves_are_looked_at_by_axis_by_panel_and_by_seed(
    browser: Browser, smoke: Report, script: bool
) -> None:
    with visit(browser, smoke.address, java_script_enabled=script) as page:
        figure = page.locator("figure.curves").first
        axes = figure.get_by_role("group", name="Against").get_by_role("radio")
        assert axes.count() == 4
        for axis in axes.all():
            axis.check()
            shown = figure.locator(f".view[data-axis='{axis.get_attribute('value')}']")
            assert [one.is_visible() for one in shown.all()] == [True, True]
            assert figure.locator(".view").evaluate_all(VISIBLE) == 2
        panels = figure.get_by_role("group", name="Panels")
        assert figure.locator(".panel").evaluate_all(VISIBLE) == 3
        for place, name in enumerate(("training loss", "test loss", "test accuracy")):
            panels.get_by_role("radio", name=name).check()
            panel = figure.locator(".view .panel").evaluate_all(
                "all => all.filter(one => one.checkVisibility()).map(one => [...one.parentNode.children].indexOf(one))"
            )
            assert panel == [place]
        seeds = figure.locator("g.seeds")
        assert seeds.evaluate_all(SEEN) == 0
        figure.get_by_role("checkbox", name="every seed").check()
        assert seeds.evaluate_all(SEEN) == seeds.count() > 0
        assert page.locator("figure.curves").nth(1).locator("g.seeds").evaluate_all(SEEN) == 0


VISIBLE = "all => all.filter(one => one.checkVisibility()).length"
SEEN = "all => all.filter(one => getComputedStyle(one).visibility === 'visible').length"


# Tables in order


ORDERS = """() => [...document.querySelectorAll("table.data")].flatMap((table) =>
    [...table.tHead.rows[0].cells].flatMap((heading, place) => {
        const button = heading.querySelector("button");
        if (!button) return [];
        const now = () => [...table.tBodies[0].rows].map((row) =>
            [row.cells[place].dataset.value ?? null, row.cells[place].textContent.trim()]);
        const found = { title: `${table.caption.textContent.slice(0, 40)}: ${heading.textContent}`,
            number: heading.classList.contains("number"), orders: [now()] };
        for (const order of ["ascending", "descending", null]) {
            button.click();
            if (heading.getAttribute("aria-sort") !== order) throw new Error(found.title);
            found.orders.push(now());
        }
        return [found];
    }))"""
SCALES = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "B": 1}
SCALES |= {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def number_in(value: str | None, text: str) -> float | None:
    """Return what a cell stands for, or None where it holds no number."""
    if value is not None:
        return None if value == "nan" else float(value)
    found = re.match(r"[<≤ ]*([−+]?[\d,]*\.?\d+(?:e-?\d+)?)(?: \[.*\])?\s?(\w+)?", text)
    if found is None:
        return None
    return float(found[1].replace("−", "-").replace(",", "")) * SCALES.get(found[2], 1)


def test_every_column_of_numbers_is_ordered_by_its_numbers_and_none_come_last(
    browser: Browser, report: Report
) -> None:
    with visit(browser, report.address) as page:
        columns = [column for column in page.evaluate(ORDERS) if column["number"]]
    assert len(columns) > 50
    units = set()
    for column in columns:
        original, rising, falling, restored = column["orders"]
        if any(re.search("10[⁻⁰-⁹²³]", text) for _, text in original):
            continue
        found = [number_in(*cell) for cell in rising]
        held = [one for one in found if one is not None]
        assert found == sorted(held) + [None] * (len(found) - len(held)), column["title"]
        turned = [number_in(*cell) for cell in falling]
        assert turned == held[::-1] + [None] * (len(found) - len(held)), column["title"]
        assert restored == original
        units.add(frozenset(re.findall("µs|ms", " ".join(text for _, text in original))))
    assert frozenset({"µs", "ms"}) in units


def test_columns_of_words_are_ordered_by_the_alphabet(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        summary = page.locator("#summary table")
        summary.get_by_role("button", name="Method").click()
        names = summary.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.method)")
        assert names == sorted(names)
        assert len(set(names)) > 1


def test_a_table_is_ordered_by_the_keyboard_and_says_so(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        heading = page.locator("#summary thead th").last
        heading.get_by_role("button").focus()
        for order in ("ascending", "descending", None):
            page.keyboard.press("Enter")
            assert heading.get_attribute("aria-sort") == order
        page.locator("#summary thead th").first.get_by_role("button").press("Enter")
        heading.get_by_role("button").press("Enter")
        assert page.locator("#summary th[aria-sort]").count() == 1


# The address


def test_the_address_keeps_what_is_looked_at(browser: Browser, smoke: Report) -> None:
    from playwright.sync_api import expect

    with visit(browser, smoke.address) as page:
        page.get_by_role("checkbox", name="forward_gradient", exact=True).uncheck()
        figure = page.locator("figure.curves").nth(1)
        figure.get_by_role("radio", name="jvps").or_(figure.locator("[value=operations]")).last.check()
        figure.get_by_role("checkbox", name="every seed").check()
        kept = view(page)
        page.get_by_role("navigation").get_by_role("link", name="Data", exact=True).click()
        page.wait_for_url("**#data?*")
        page.reload()
        assert view(page) == kept
        address = page.url
        with visit(browser, address) as other:
            assert view(other) == kept
            expect(other.get_by_role("heading", name="Data", exact=True)).to_be_in_viewport()
        page.get_by_role("button", name="Show all").click()
        expect(page).to_have_url(re.compile("#data[?](?!.*method)"))
        page.goto(address)
        assert view(page) == kept


def test_a_link_to_what_is_folded_away_opens_it(browser: Browser, torn: Report) -> None:
    with visit(browser, torn.address) as page:
        folded = "main details:not([open]) figure[id]"
        name = page.locator(folded).first.get_attribute("id")
        assert not page.locator(f"#{name} svg").first.is_visible()
    with visit(browser, f"{torn.address}#{name}") as page:
        assert page.locator(f"#{name} svg").first.is_visible()


@pytest.mark.parametrize("torn_hash", ["#%E0%A4%A", "#nothing", "#?%", "#e0?method:9&%", "#?"])
def test_an_address_that_says_nothing_harms_nothing(browser: Browser, smoke: Report, torn_hash: str) -> None:
    with visit(browser, smoke.address + torn_hash) as page:
        assert page.locator("#summary th button").count() > 0
        assert page.locator(".offers").count() > 0


def view(page: Page) -> list[str]:
    """Return every switch that is not as it was."""
    found: list[str] = page.evaluate(
        """[...document.querySelectorAll("input")].filter((one) => one.checked !== one.defaultChecked)
            .map((one) => `${one.name}:${one.value}`)"""
    )
    assert len(found) == 4
    return found


# Finding one's way


def test_every_link_leads_somewhere_and_every_section_and_figure_is_linked(
    browser: Browser, report: Report
) -> None:
    with visit(browser, report.address) as page:
        links = page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.hash.slice(1))"
        )
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        places = page.evaluate("[...document.querySelectorAll('section, figure')].map(one => one.id)")
        listed = page.evaluate("[...document.querySelectorAll('nav a')].map(one => one.hash.slice(1))")
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => Number(one.tagName[1]))"
        )
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert listed == places
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_contents_mark_where_the_reader_is(browser: Browser, smoke: Report) -> None:
    from playwright.sync_api import expect

    with visit(browser, smoke.address, reduced_motion="reduce") as page:
        current = page.locator("nav [aria-current]")
        expect(current).to_have_text("The answer")
        for section, name in (("cost", "Cost"), ("e1", "mlp on penguins"), ("glossary", "Glossary")):
            page.locator(f"#{section}").evaluate("one => one.scrollIntoView()")
            expect(current).to_have_text(name)
        assert current.count() == 1


def test_on_a_phone_the_contents_are_folded_and_never_lie_over_what_they_lead_to(
    browser: Browser, smoke: Report
) -> None:
    from playwright.sync_api import expect

    with visit(browser, smoke.address, reduced_motion="reduce", **PHONE) as page:
        link = page.locator("nav .sections > li > a[href='#cost']")
        assert not link.is_visible()
        for place in ("#cost", "#figure-5"):
            page.get_by_text("Contents").click()
            if place == "#figure-5":
                page.locator("nav li details").nth(2).locator("summary").click()
            page.locator(f"nav a[href='{place}']").click()
            expect(link).not_to_be_visible()
            bottom = page.locator("nav").evaluate("one => one.getBoundingClientRect().bottom")
            assert 0 < bottom < 200
            assert bottom <= page.locator(place).evaluate("one => one.getBoundingClientRect().top") + 1 < 300


LINES = """(cell) => [...cell.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => {
  const range = document.createRange();
  range.selectNodeContents(node);
  return [node.data, new Set([...range.getClientRects()].map((box) => box.top)).size];
})"""
"""The pieces of a cell's text that a line may end between, and over how many lines each goes."""


def test_on_a_phone_a_tables_caption_stays_in_view_and_a_long_name_ends_a_line_after_an_underscore(
    browser: Browser, smoke: Report
) -> None:
    with visit(browser, smoke.address, **PHONE) as page:
        names = page.locator("#cost tr[data-method] > th:visible").all()
        pieces = [name.evaluate(LINES) for name in names]
        assert [["checkpointed_", 1], ["backprop", 1]] in pieces
        assert all(lines == 1 for each in pieces for _, lines in each)
        frame = page.locator("#cost .scroll:visible").first
        caption = frame.locator("caption")
        before = caption.bounding_box()
        assert frame.evaluate("(frame) => { frame.scrollLeft = 100; return frame.scrollLeft; }") == 100
        assert caption.bounding_box() == before


def test_the_keyboard_skips_the_contents_and_its_place_is_always_seen(
    browser: Browser, smoke: Report
) -> None:
    from playwright.sync_api import expect

    with visit(browser, smoke.address) as page:
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="To the content")
        assert skip.evaluate("one => one === document.activeElement && one.getBoundingClientRect().left >= 0")
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        unseen = page.evaluate(
            """() => [...document.querySelectorAll("a, button, input, summary, [tabindex='0']")].filter((one) => {
                if (!one.checkVisibility()) return false;
                one.focus();
                const style = getComputedStyle(one);
                return document.activeElement !== one || style.outlineStyle === "none"
                    || parseFloat(style.outlineWidth) < 2;
            }).map((one) => one.outerHTML.slice(0, 100))"""
        )
        assert unseen == []


# On paper, and without JavaScript


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_page_printed_from_the_dark_is_light_whole_and_shows_all_it_folds(
    browser: Browser, torn: Report, script: bool
) -> None:
    with visit(browser, torn.address, color_scheme="dark", java_script_enabled=script) as page:
        page.get_by_role("radio", name="Dark").check()
        page.set_viewport_size({"width": PAPER, "height": 800})
        page.emulate_media(media="print", color_scheme="dark")
        assert overflowing(page, scrolling="") == []
        assert colour(page.locator("body"), "backgroundColor") == "#ffffff"
        assert contrast(colour(page.locator("body"), "color"), "#ffffff") > 12
        for absent in ("nav", ".skip", ".filtered", ".switches", ".offers"):
            assert page.locator(absent).evaluate_all(VISIBLE) == 0, absent
        views = page.locator("figure.curves .view")
        assert views.evaluate_all(VISIBLE) == views.count() > 10
        folded = page.locator("main details:not([open], .screen) table")
        assert folded.evaluate_all("all => all.every(one => one.getBoundingClientRect().height > 20)")
        assert folded.count() > 10
        left_out = page.locator("main details.screen")
        assert left_out.evaluate_all(VISIBLE) == 0
        assert page.locator(".paper").evaluate_all(VISIBLE) == page.locator(".paper").count() > 0


def test_the_printed_page_begins_each_section_on_a_page_of_its_own(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        sections = page.locator("main section").count()
        pdf = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "1cm"))
    assert len(re.findall(rb"/Type /Page\b", pdf)) > sections


def test_everything_reads_without_javascript(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address, java_script_enabled=False) as page:
        for name in page.locator("nav .sections > li > a").all():
            assert page.locator(name.get_attribute("href") or "").is_visible()
        assert page.get_by_role("img").count() > 21
        assert page.get_by_role("button").count() == 0
        page.get_by_text("All settings").first.click()
        assert page.get_by_role("table", name="Settings of logistic_regression on penguins").is_visible()
