"""What the report hands out, in a real browser: rows and tables as CSV, pictures as SVG and PNG, text to copy."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import records
import yaml
from browsing import Report, made_report, of_method, visit
from PIL import Image

from fgbench.config import read_config, shown_config
from fgbench.results import rated

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Download, Locator, Page

pytestmark = pytest.mark.browser

SOME = 8
"""Files saved from one page at most: of many, one after the other, a browser asks its user."""

SVG = "{http://www.w3.org/2000/svg}"
QUOTED = 'a, "b"\\ お & 5 % of #1 {$x_2$} ~^ <|> --'
"""A method's name that a CSV file has to quote, and LaTeX to escape."""

QUOTED_IN_LATEX = (
    'a, "b"\\textbackslash{} お \\& 5 \\% of \\#1 \\{\\$x\\_2\\$\\} '
    "\\textasciitilde{}\\textasciicircum{} \\textless{}\\textbar{}\\textgreater{} -{}-"
)


@pytest.fixture(scope="module")
def quoted(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A small study of a method with such a name."""
    runs = records.run_records(methods=("backprop", QUOTED), num_seeds=2)
    small = [record for record in runs if record["model"] == "mlp"]
    return made_report(tmp_path_factory.mktemp("quoted"), (), runs=small)


def saved(page: Page, button: Locator, number: int = 1) -> list[bytes]:
    """Return what is in the files that a click on a button saves, in their order."""
    found: list[Download] = []

    def keep(download: Download) -> None:
        found.append(download)

    page.on("download", keep)
    with page.expect_event("download", predicate=lambda _: len(found) == number):
        button.click()
    page.remove_listener("download", keep)
    return [Path(one.path()).read_bytes() for one in found]


def offered(within: Locator, kind: str) -> Locator:
    return within.locator(":scope > .drawn .offers").get_by_role("button", name=re.compile(f"^{kind}: "))


def drawn(report: Report, source: dict[str, object]) -> pd.DataFrame:
    """Return the rows of a tidy table that a figure says it draws."""
    table = report.tables[str(source["table"])]
    where = source["where"]
    assert isinstance(where, dict)
    for name, value in where.items():
        table = table[table[name] == value]
    return table.reset_index(drop=True)


def test_a_gallery_is_a_figure_that_hands_out_its_images_as_one_picture(
    browser: Browser, smoke: Report
) -> None:
    with visit(browser, smoke.address) as page:
        gallery = page.locator("figure:has(.gallery)").first
        assert page.locator(f'nav a[href="#{gallery.get_attribute("id")}"]').count() == 1
        (svg,) = saved(page, offered(gallery, "SVG"))
        (png,) = saved(page, offered(gallery, "PNG"))
        number = gallery.locator("img").count()
    assert number > 0
    assert len(ET.fromstring(svg).findall(f".//{SVG}image")) == number
    shades = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert (shades < 8).mean() > 0.02  # the characters' black grounds


@pytest.mark.parametrize("name", ["smoke", "quoted"])
def test_every_figure_hands_out_the_rows_that_it_draws_to_the_last_digit(
    browser: Browser, name: str, request: pytest.FixtureRequest
) -> None:
    report: Report = request.getfixturevalue(name)
    with visit(browser, report.address) as page:
        figures = page.locator("figure:has(> .drawn[data-sources])").all()
        assert len(figures) >= 3
        for figure in figures:
            if not figure.is_visible():
                figure.evaluate(
                    "one => { for (; one; one = one.parentElement) if (one.open === false) one.open = true; }"
                )
            sources = figure.locator("> .drawn").evaluate("one => JSON.parse(one.dataset.sources)")
            files = saved(page, offered(figure, "CSV"), len(sources))
            for source, file in zip(sources, files, strict=True):
                expected = drawn(report, source)
                found = pd.read_csv(io.BytesIO(file), keep_default_na=False, na_values=[""])
                again = pd.read_csv(
                    io.StringIO(expected.to_csv(index=False)), keep_default_na=False, na_values=[""]
                )
                assert len(found) == len(expected) > 0
                pd.testing.assert_frame_equal(found, again, check_dtype=False, check_exact=True)


def test_a_figure_without_rows_of_its_own_hands_out_its_table(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        article = page.locator("article:has(figure .panel):has(table)").first
        [file] = saved(page, offered(article.locator("figure"), "CSV"))
        table = pd.read_csv(io.BytesIO(file))
        assert len(table) == article.locator("tbody tr").count() > 0


def test_a_picture_is_whole_in_itself_and_holds_no_hidden_method(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address, color_scheme="dark") as page:
        figure = page.locator("figure.curves").first
        [file] = saved(page, offered(figure, "SVG"))
        text = file.decode()
        whole = ET.fromstring(text)
        assert whole.tag == f"{SVG}svg"
        assert not re.search(r"var\(|light-dark\(|currentcolor|class=", text, flags=re.IGNORECASE)
        assert methods_in(whole) == {"backprop", "forward_gradient"}
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert whole.findall(f"{SVG}rect")[0].get("fill") == ground != "rgb(255, 255, 255)"
        strokes = set(re.findall(r"stroke:(rgb\([^)]*\))", text))
        line = page.locator("#summary ~ section .legend li:nth-child(1) line").first
        assert line.evaluate("one => getComputedStyle(one).stroke") in strokes
        titles = {"".join(one.itertext()) for one in whole.iter(f"{SVG}text")}
        assert {"forward_gradient", "(nats)"} <= {word for title in titles for word in title.split()}
        page.get_by_role("checkbox", name="forward_gradient", exact=True).uncheck()
        [file] = saved(page, offered(figure, "SVG"))
        assert methods_in(ET.fromstring(file)) == {"backprop"}
        assert ">forward_gradient<" not in file.decode()


def methods_in(picture: ET.Element) -> set[str]:
    return {one.attrib["data-method"] for one in picture.iter() if "data-method" in one.attrib}


def test_every_picture_is_xml_and_without_the_pages_variables(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address, width=390) as page:
        for figure in page.locator("figure:visible").all()[:SOME]:
            [file] = saved(page, offered(figure, "SVG"))
            assert ET.fromstring(file).findall(f".//{SVG}path")
            assert b"var(" not in file


def test_a_picture_in_pixels_is_twice_as_large_and_not_blank(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        for figure in (page.locator("#figure-1"), page.locator("figure.curves").last):
            [vector] = saved(page, offered(figure, "SVG"))
            [pixels] = saved(page, offered(figure, "PNG"))
            root = ET.fromstring(vector)
            with Image.open(io.BytesIO(pixels)) as image:
                assert image.format == "PNG"
                assert image.size == tuple(2 * int(root.attrib[name]) for name in ("width", "height"))
                colours = image.convert("RGB").getcolors(1_000_000)
            assert colours is not None
            assert len(colours) > 50
            assert max(count for count, _ in colours) < 0.99 * math.prod(image.size)


def test_a_table_hands_out_values_in_full_with_the_ends_of_their_intervals(
    browser: Browser, smoke: Report
) -> None:
    with visit(browser, smoke.address) as page:
        summary = page.locator("#summary")
        [file] = saved(page, offered(summary, "CSV"))
        shown = summary.locator("tbody td").all_inner_texts()
        [picture] = saved(page, offered(summary, "SVG"))
        assert "forward_gradient" in picture.decode()
        summary.locator("thead th button").last.click()
        summary.locator("thead th button").last.click()
        page.get_by_role("checkbox", name="forward_gradient", exact=True).uncheck()
        [less] = saved(page, offered(summary, "CSV"))
    table, own = pd.read_csv(io.BytesIO(file)), smoke.tables["summary"]
    accuracy = next(name for name in table.columns if f"{name}: low" in table and "ccuracy" in name)
    found = table[[accuracy, f"{accuracy}: low", f"{accuracy}: high"]].to_numpy(dtype=float)
    assert (found[:, 0] >= found[:, 1]).all()
    assert (found[:, 0] <= found[:, 2]).all()
    assert np.isin(found[:, 0], own.select_dtypes("float").to_numpy()).all()
    assert not any(str(value) in shown for value in found[:, 0])
    assert set(pd.read_csv(io.BytesIO(less))["Method"]) == {"backprop"}


def test_a_name_with_commas_and_quotes_stays_one_cell(browser: Browser, quoted: Report) -> None:
    with visit(browser, quoted.address) as page:
        [file] = saved(page, offered(page.locator("#summary"), "CSV"))
        assert set(pd.read_csv(io.BytesIO(file))["Method"]) == {"backprop", QUOTED}
        assert page.locator(f"#summary {of_method(QUOTED)}").count() > 0


def test_the_config_is_saved_as_the_study_had_it(browser: Browser, smoke: Report) -> None:
    with visit(browser, smoke.address) as page:
        [file] = saved(page, page.get_by_role("link", name="save it"))
    config = read_config(smoke.path.with_name("config.yaml"))
    assert yaml.safe_load(file) == shown_config(rated(config))


def test_commands_and_tables_are_copied(browser: Browser, smoke: Report) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with visit(browser, smoke.address, permissions=permissions) as page:
        again = page.locator("#made pre").first
        again.locator("xpath=following-sibling::p[1]").get_by_role("button").click()
        page.get_by_role("button", name="Copy these lines").get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == again.inner_text().strip()
        page.locator("#summary").get_by_role("button", name=re.compile("^Copy the table")).click()
        page.locator("#summary").get_by_text("Copied").wait_for()
        table = pd.read_csv(io.StringIO(page.evaluate("navigator.clipboard.readText()")), sep="\t")
        assert len(table) == page.locator("#summary tbody tr").count()


def test_all_figures_are_saved_at_once_as_each_alone_is_saved_at_that_moment(
    browser: Browser, smoke: Report
) -> None:
    with visit(browser, smoke.address) as page:
        page.get_by_role("checkbox", name="forward_gradient", exact=True).uncheck()
        figures = page.locator(f"figure:not({of_method('forward_gradient')} figure)")
        assert figures.count() < page.locator("figure").count()
        curves, claim = page.locator("figure.curves").first, page.locator("article:has(table) figure").first
        curves.get_by_role("radio", name="test loss").check()
        wanted = [(one, kind) for one in (curves, claim) for kind in ("SVG", "CSV")]
        wanted.append((figures.last, "SVG"))
        alone = {file_of(one, kind): saved(page, offered(one, kind))[0] for one, kind in wanted}
        numbers = [number_of(one) for one in figures.all()]
        with_rows = [number_of(one) for one in figures.all() if offered(one, "CSV").count()]
        figures.last.evaluate(FOLD)
        button = page.get_by_role("button", name="Save all figures")
        button.evaluate(WATCH)
        before = page.evaluate(PLACE)
        [vectors] = saved(page, button)
        assert page.evaluate(PLACE) == before
        progress = [[f"{place} of {len(numbers)}", True, True] for place, _ in enumerate(numbers, start=1)]
        assert page.evaluate("told") == [*progress, ["Save all figures", False, False]]
        assert button.evaluate("one => one === document.activeElement")
        [pixels] = saved(page, page.get_by_role("button", name="Save all as PNG"))
    files, images = unzipped(vectors), unzipped(pixels)
    assert {name: files[name] for name in alone} == alone
    assert [name.replace(".png", ".svg") for name in images] == list(files)
    assert {name: images[name] for name in images if name.endswith(".csv")}.items() <= files.items()
    assert [int(name.split("-")[1]) for name in files] == sorted(int(name.split("-")[1]) for name in files)
    assert [name.split("-")[1] for name in files if name.endswith(".svg")] == numbers
    assert list(dict.fromkeys(name.split("-")[1] for name in files if name.endswith(".csv"))) == with_rows
    for name in (name for name in files if name.endswith(".svg")):
        picture = ET.fromstring(files[name])
        assert "forward_gradient" not in methods_in(picture)
        with Image.open(io.BytesIO(images[name.replace(".svg", ".png")])) as image:
            assert image.size == tuple(2 * int(picture.attrib[side]) for side in ("width", "height"))
            assert len(image.convert("RGB").getcolors(1_000_000) or []) > 20


FOLD = """(one) => {
    const details = document.createElement("details");
    one.replaceWith(details);
    details.append(one);
}"""
WATCH = """(one) => {
    window.told = [];
    const method = document.querySelector("[name=method]");
    new MutationObserver(() => told.push([one.textContent, one.disabled, method.matches(":disabled")]))
        .observe(one, { childList: true });
    one.scrollIntoView({ behavior: "instant", block: "center" });
}"""
PLACE = "[scrollY, ...[...document.querySelectorAll('main details')].map((one) => one.open)]"
"""What a reader looks at. Which figures the contents list unfolds as one moves, and does so when it comes to it."""


def file_of(figure: Locator, kind: str) -> str:
    """Return the name of the file that a figure is saved as; `kind` is SVG or CSV."""
    title = re.sub("[^a-z0-9]+", "-", figure.page.title().lower())
    return f"figure-{number_of(figure)}-{title}"[:60] + f".{kind.lower()}"


def number_of(figure: Locator) -> str:
    return str(figure.get_attribute("id")).removeprefix("figure-")


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the files in an archive, in its order: whole, each named once, of the oldest date."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        files = {name: archive.read(name) for name in archive.namelist()}
        assert len(files) == len(archive.namelist())
        return files


SIGNS = {
    "−0.5 [−1, 2]": "$-$0.5 [$-$1, 2]",
    "3·10⁻¹² × 4": "3$\\cdot$10$^{-12}$ $\\times$ 4",
    "≤ 5 µs ± ∞": "$\\leq$ 5 $\\mu$s $\\pm$ $\\infty$",
    "≈ ‖∇f‖² ≥ xₙ": "$\\approx$ $\\| \\nabla$f$\\| ^{2}$ $\\geq$ x$_{n}$",
    "1–2 – … す": "1--2 -- \\dots{} す",
}
"""What a cell may show, and how LaTeX sets it."""


def test_a_table_is_copied_as_latex_of_what_is_shown(browser: Browser, quoted: Report) -> None:
    with visit(browser, quoted.address, permissions=["clipboard-read", "clipboard-write"]) as page:
        lines = latex_of(page, page.locator("#summary"))
        rows = page.locator("#summary tbody tr")
        shown = [row.locator("th, td").all_inner_texts() for row in rows.all()]
        columns = page.locator("#summary thead th")
        numbers = columns.evaluate_all("all => all.map(one => one.classList.contains('number') ? 'r' : 'l')")
        assert lines[-3:] == ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
        assert lines.index("\\toprule") + 2 == lines.index("\\midrule")
        assert f"\\begin{{tabular}}{{{''.join(numbers)}}}" in lines
        found = cells_of(lines)
        assert [len(row) for row in found] == [len(numbers)] * len(shown)
        method = columns.all_inner_texts().index("Method")
        assert {row[method] for row in found} == {"backprop", QUOTED_IN_LATEX}

        for place, text in enumerate(SIGNS):
            cell = rows.first.locator("th, td").nth(place + 1)
            cell.evaluate("(one, text) => { one.textContent = text; }", text)
        rows.first.locator("th").evaluate("one => { one.textContent = '[0, 1]'; }")
        row = cells_of(latex_of(page, page.locator("#summary")))[0]
        assert row[: 1 + len(SIGNS)] == ["{[}0, 1]", *SIGNS.values()]

        settings = page.locator(f".scroll:has(thead {of_method(QUOTED)})").first
        settings.evaluate(
            "one => { for (; one; one = one.parentElement) if (one.open === false) one.open = true; }"
        )
        around = settings.locator("xpath=..")
        wide = latex_of(page, around)
        page.get_by_role("checkbox", name=QUOTED, exact=True).uncheck()
        narrow = latex_of(page, around)
        assert {len(row) for row in cells_of(wide)} == {3}
        assert {len(row) for row in cells_of(narrow)} == {2}
        assert len(cells_of(latex_of(page, page.locator("#summary")))) < len(shown)


def latex_of(page: Page, within: Locator) -> list[str]:
    """Return the lines that the first button LaTeX within an element copies."""
    page.evaluate("navigator.clipboard.writeText('')")
    within.get_by_role("button", name=re.compile("^LaTeX: copy the table")).first.click()
    page.wait_for_function("navigator.clipboard.readText()")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return [line.strip() for line in text.strip().splitlines()]


def cells_of(lines: list[str]) -> list[list[str]]:
    """Return the cells of a tabular's rows below its heading."""
    rows = lines[lines.index("\\midrule") + 1 : lines.index("\\bottomrule")]
    assert all(row.endswith(" \\\\") for row in rows)
    return [re.split(r"(?<!\\) & ", row.removesuffix(" \\\\")) for row in rows]
