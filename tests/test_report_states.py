"""The page in a real browser where a study went other than hoped: it says so, fits a phone, and is accessible."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import records
from browsing import OPEN_ALL, TORN, made_report, overflowing, violations, visit
from finished import again, altered, base_runs, finished, shifted
from records import Record

from fgbench.compare_report import comparison_page
from fgbench.comparing import compared
from fgbench.tables import study_tables

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "has_touch": True, "is_mobile": True}


def small(**options: object) -> list[Record]:
    """Return the runs on the multilayer network alone."""
    runs = records.run_records(**options)  # type: ignore[arg-type]
    return [record for record in runs if record["model"] == "mlp"]


def changed(change: Callable[[Record], Record], method: str = "forward_gradient") -> list[Record]:
    """Return such runs, each of one method's changed."""
    runs = small()
    for record in runs:
        if record["method"] == method:
            record["runs"] = [change(run) for run in record["runs"]]
    return runs


def skipping() -> list[Record]:
    """Return such runs, one method of which does not apply to the model."""
    runs = small(methods=("backprop", "forward_gradient", "local"))
    for record in runs:
        if record["method"] == "local":
            record |= {"runs": [], "skipped": "there is no hidden layer"}
    return runs


STATES: dict[str, tuple[Callable[[], list[Record]], tuple[str, ...]]] = {
    "a method that diverged": (
        lambda: changed(records.diverged),
        ("6 diverged", "a cross diverged"),
    ),
    "targets that were missed": (
        lambda: changed(records.missed),
        ("in 0 of 6 runs", "not reached"),
    ),
    "a single seed": (
        lambda: small(num_seeds=1),
        ("no difference can be resolved",),
    ),
    "one method alone": (
        lambda: small(methods=("backprop",)),
        ("Nothing is compared",),
    ),
    "a method that was skipped": (
        skipping,
        ("local", "there is no hidden layer"),
    ),
    "hostile names": (
        lambda: small(methods=TORN, num_seeds=2),
        TORN,
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_the_page_says_what_happened_and_reads_well(browser: Browser, tmp_path: Path, state: str) -> None:
    runs, told = STATES[state]
    report = made_report(tmp_path, (), runs=runs())
    with visit(browser, report.address, bypass_csp=True, **PHONE) as page:
        assert overflowing(page) == []
        page.evaluate(OPEN_ALL)
        assert overflowing(page) == []
        text = page.locator("body").inner_text().replace("\xa0", " ")
        for sentence in told:
            assert sentence in text
        cells = page.locator("td, svg text").all_text_contents()
        assert not [one for one in cells if re.search(r"\b(nan|NaN|None|undefined|inf)\b", one)]
        assert page.locator("nav input[name=method]").count() != 1
        assert violations(page, within=["header", "nav", "#found", "#summary", "#e0", "#cost"]) == []


def test_stand_ins_are_told_before_all_else(browser: Browser, tmp_path: Path) -> None:
    runs, data = small(num_seeds=2), copy.deepcopy(records.metadata())
    data["penguins"] |= {"used": "iris", "title": "Iris", "reasons": ["penguins: no network and no mirror"]}
    for record in runs:
        record["data"] = "iris"
    report = made_report(tmp_path, (), runs=runs, data=data)
    with visit(browser, report.address, width=360) as page:
        banners = page.locator("header .banner")
        assert banners.count() == 2
        for banner, names in zip(
            banners.all(), (("penguins", "iris"), ("kmnist_t10k", "digits")), strict=True
        ):
            assert "Stand-in data: {} was asked for, {} was used.".format(*names) in banner.inner_text()
        heading = page.get_by_role("heading", level=1).bounding_box()
        box = banners.last.bounding_box()
        assert box is not None
        assert heading is not None
        assert box["y"] + box["height"] <= heading["y"]
        assert overflowing(page) == []


def test_without_a_gpu_the_cost_says_so(browser: Browser, tmp_path: Path) -> None:
    runs = small(num_seeds=2)
    report = made_report(
        tmp_path, (), runs=runs, tables=study_tables(runs, cost=records.cost_record(runs, rounds=3))
    )
    with visit(browser, report.address, width=360) as page:
        assert "No GPU: nothing" in page.locator("#cost").inner_text()
        assert overflowing(page) == []


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of two studies, one cell of which changed, and whose steps were both timed."""
    worse = altered(base_runs(), "forward_gradient", shifted("test_loss", lambda seed: 0.1 + seed / 100))
    one, other = finished(base_runs(), rounds=6), finished(worse, name="<b>other</b> お", rounds=6)
    path: Path = tmp_path_factory.mktemp("comparison") / "comparison.html"
    path.write_text(comparison_page(compared(one, other), rendered="2026-05-06 07:08 UTC"), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("options", [{}, PHONE | {"color_scheme": "dark"}], ids=["desktop", "dark phone"])
def test_the_page_of_two_studies_is_as_good(browser: Browser, comparison: str, options: object) -> None:
    with visit(browser, comparison, bypass_csp=True, **options) as page:  # type: ignore[arg-type]
        assert overflowing(page) == []
        page.evaluate(OPEN_ALL)
        assert overflowing(page) == []
        assert violations(page) == []
        assert page.get_by_role("heading", name="Do two studies agree?").is_visible()
        links = page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.hash.slice(1))"
        )
        assert set(links) <= set(page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)"))
        assert page.locator("table.data th button").count() > 5


def test_two_studies_that_are_the_same_are_told_so_without_javascript(
    browser: Browser, tmp_path: Path
) -> None:
    page_of_both = comparison_page(
        compared(finished(base_runs()), finished(again(base_runs()))), rendered="2026-05-06 07:08 UTC"
    )
    path = tmp_path / "comparison.html"
    path.write_text(page_of_both, encoding="utf-8")
    with visit(browser, path.as_uri(), java_script_enabled=False) as page:
        assert "the same to the last bit" in page.locator("header .verdict").inner_text()
