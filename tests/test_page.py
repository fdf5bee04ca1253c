"""The page's shell: its data survives the way into it, names cannot break out of it, and it lists what it shows."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from fgbench.page import Contents, Figure, _templates, css_string, packed, page
from fgbench.pieces import Chart, Source

HOSTILE = """</style></template></script><script>alert("'$x$'")</script> \\ &amp; お"""
TABLES = {
    name: pd.DataFrame({"method": [name], "seed": [seed]}) for seed, name in enumerate(("runs", "curves"))
}


def unpacked(text: str) -> Any:
    """Return what was packed; a number that JSON does not know is an error."""
    return json.loads(gzip.decompress(base64.b64decode(text)), parse_constant=pytest.fail)


def test_a_table_survives_its_way_into_the_page_to_the_last_digit() -> None:
    numbers = [0.1 + 0.2, math.pi * 1e-300, 5e-324, -1 / 3]
    table = pd.DataFrame(
        {
            "text": ["", HOSTILE, "line\nend", "–"],
            "number": numbers,
            "count": pd.array([1, None, 0, 2**53 - 1], dtype="Int64"),
            "is_told": [True, False, True, False],
        }
    )
    found = unpacked(packed(table))
    assert found["columns"] == ["text", "number", "count", "is_told"]
    assert found["values"] == [
        [*table["text"]],
        numbers,
        [1, None, 0, 2**53 - 1],
        [True, False, True, False],
    ]


def test_what_is_missing_is_null_and_what_is_infinite_is_told_by_name() -> None:
    values = [math.nan, math.inf, -math.inf, np.float64(math.inf), pd.NA, None]
    found = unpacked(packed(pd.DataFrame({"x": pd.Series(values, dtype="object")})))
    assert found["values"] == [[None, "inf", "-inf", "inf", None, None]]


def test_a_table_without_rows_keeps_its_columns() -> None:
    assert unpacked(packed(pd.DataFrame({"a": [], "b": []}))) == {"columns": ["a", "b"], "values": [[], []]}


def test_packing_at_another_time_gives_the_same_bytes_and_none_of_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pd.DataFrame({"method": [HOSTILE] * 50, "loss": np.linspace(0, 1, 50)})
    first = packed(table)
    monkeypatch.setattr(time, "time", lambda: 1.0e9)
    assert packed(table.copy()) == first
    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", first)


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        'a"b',
        "a'b",
        "back\\slash",
        "\\22 ",
        "two\nlines\r\f",
        "お",
        "𝛁f",
        "a b",
        "1st",
        "",
        "}*{",
        "\x7f",
    ],
)
def test_a_text_in_a_style_sheet_means_itself_and_cannot_leave_it(text: str) -> None:
    written = css_string(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\[0-9a-f]{1,6} )*", written)
    # CSS Syntax 3: a backslash, up to six hexadecimal digits, and one blank that belongs to them
    assert re.sub(r"\\([0-9a-f]{1,6}) ", lambda found: chr(int(found[1], 16)), written) == text


def test_figures_are_numbered_through_all_sections_and_listed_where_they_stand() -> None:
    contents = Contents(TABLES)
    assert contents.section("one", "The first") == "one"
    assert [contents.figure("A"), contents.figure("B")] == [1, 2]
    contents.section("two", "Without a figure")
    contents.section("three", "The third")
    assert contents.figure("C") == 3
    listed = {section.key: section.figures for section in contents.sections}
    assert listed == {"one": [Figure(1, "A"), Figure(2, "B")], "two": [], "three": [Figure(3, "C")]}


def test_only_the_tables_that_a_figure_draws_are_given_to_the_page_and_each_once() -> None:
    contents = Contents(TABLES)
    contents.section("one", "The first")
    contents.figure("Nothing drawn")
    assert contents.datasets() == {}
    contents.figure("Drawn", [Source("runs"), Source("runs", {"seed": 0})])
    assert contents.datasets() == {"runs": packed(TABLES["runs"])}
    contents.figure("Drawn too", [Source("curves")])
    assert [*contents.datasets()] == ["curves", "runs"]


def test_a_figure_that_draws_a_table_that_there_is_not_is_an_error() -> None:
    contents = Contents(TABLES)
    contents.section("one", "The first")
    contents.figure("Drawn", [Source("summary")])
    with pytest.raises(KeyError, match="summary"):
        contents.datasets()


def test_what_a_template_places_is_what_the_contents_list() -> None:
    contents = Contents(TABLES)
    source = """{% import "macros.html.j2" as show with context %}
    {% call show.section("s", "A long title", "Short") %}
    {% for one in charts %}{{ show.chart(one) }}{% endfor %}
    {% endcall %}"""
    charts = [Chart(["<svg/>"], f"Says {title}.", title=title, sources=[Source("runs")]) for title in "AB"]
    markup = _templates().from_string(source).render(contents=contents, charts=charts)
    (section,) = contents.sections
    assert (section.title, section.figures) == ("Short", [Figure(1, "A"), Figure(2, "B")])
    assert re.findall(r'<figure id="(.*?)">', markup) == ["figure-1", "figure-2"]
    assert "<strong>Figure 2.</strong> Says B." in markup
    assert [*contents.datasets()] == ["runs"]


@pytest.mark.parametrize("template", ["report.html.j2", "compare.html.j2"])
def test_a_page_that_lacks_a_value_is_not_made(template: str) -> None:
    with pytest.raises(UndefinedError):
        page(template, tables={}, filtered=[])


def test_a_page_allows_its_own_script_by_its_hash_and_no_other() -> None:
    made = page("base.html.j2", tables={}, filtered=[])
    (script,) = re.findall(r"<script>(.*?)</script>", made, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', made)
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in policy
    assert re.findall(r"script-src[^;]*", policy) == [f"script-src 'sha256-{digest}'"]


def test_a_hostile_method_has_its_switch_and_its_rule_and_ends_no_element() -> None:
    made = page("base.html.j2", tables={}, filtered=["backprop", HOSTILE])
    for tag in ("style", "script"):
        assert made.count(f"<{tag}>") == made.count(f"</{tag}>") == 1
    style = made[made.index("<style>") : made.index("</style>")]
    own = [f'[data-{whose}="{css_string(HOSTILE)}"]' for whose in ("method", "beside")]
    assert f'[value="1"]:not(:checked)) :is({", ".join(own)}) {{ display: none; }}' in style
    assert style.count("{") == style.count("}")
    assert '<input type="checkbox" name="method" value="1" checked>' in made


def test_one_method_alone_cannot_be_hidden() -> None:
    assert 'name="method"' not in re.sub(
        r"<style>.*?</style>|<script>.*?</script>",
        "",
        page("base.html.j2", tables={}, filtered=["backprop"]),
        flags=re.DOTALL,
    )


def test_a_source_is_told_in_full_and_leads_to_its_table() -> None:
    source = Source("runs", {"model": 'a "b" & <c>', "data": "お"})
    template = '{% import "macros.html.j2" as show with context %}{{ show.drawn(sources) }}'
    markup = _templates().from_string(template).render(contents=Contents({}), sources=[source])
    (attribute,) = re.findall(r'data-sources="(.*?)"', markup)
    told = json.loads(
        attribute.replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    assert told == [{"table": "runs", "where": {"model": 'a "b" & <c>', "data": "お"}}]
    assert '<a href="tables/runs.csv">' in markup
