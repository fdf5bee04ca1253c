"""Numbers as a reader sees them, at the edges that the docstrings' examples leave out."""

from __future__ import annotations

import copy
import math
import pickle
import re
from typing import Any

import pytest

from fgbench.page import Contents, _templates
from fgbench.pieces import METHOD, Table, numbers
from fgbench.wording import (
    Quantity,
    address_text,
    bytes_text,
    count_text,
    differences_text,
    floor_text,
    interval_text,
    joined,
    number_text,
    percent_text,
    ratio_text,
    seconds_interval_text,
    seconds_text,
)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.000"), (1234.5, "1,234"), (1e-9, "0.000000"), (-math.inf, "−∞")]
)
def test_numbers_keep_three_digits_but_never_an_exponent(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_mean_is_rounded_as_its_interval_allows() -> None:
    assert interval_text(1234.567, 1100, 1400) == "1,235 [1,100, 1,400]"
    assert interval_text(0.5, 0.5, 0.5) == "0.500 [0.500, 0.500]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 µs"), (9.96e-4, "1.0 ms"), (0.9949, "990 ms"), (3600, "3,600 s"), (math.nan, "–")],
)
def test_durations_carry_the_unit_that_fits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "1.0 kB"), (994, "990 B"), (4096, "4.1 kB"), (999_500, "1.0 MB"), (5e12, "5,000 GB")],
)
def test_sizes_in_memory_carry_the_unit_that_fits(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1.0, 1.0, 1.0), "1.0× [1.0, 1.0]"),
        ((1.0, 0.9996, 1.0004), "1.0000× [0.9996, 1.0004]"),
        ((29.13, 28.8, 29.4), "29.1× [28.8, 29.4]"),
        ((2.0, math.nan, math.nan), "2.0×"),
        ((0.0, 0.0, 0.0), "0.000"),
    ],
)
def test_a_ratio_has_the_digits_that_its_interval_tells_apart(numbers: tuple[float, ...], text: str) -> None:
    assert ratio_text(*numbers) == text


def test_a_noise_floor_shows_the_digit_above_one() -> None:
    assert [floor_text(floor) for floor in (1.0, 1.00001, 1.31, 12.3)] == [
        "1.0000×",
        "1.0000×",
        "1.31×",
        "12.30×",
    ]


def test_a_durations_ends_stand_in_the_unit_of_its_middle() -> None:
    assert seconds_interval_text(0.00099, 0.00095, 0.00102) == "990 [950, 1,020] µs"
    assert seconds_interval_text(2.0, 1.99996, 2.00004) == "2.0000 [2.0000, 2.0000] s"
    assert seconds_interval_text(math.inf, math.nan, math.nan) == "∞"
    assert seconds_interval_text(0.1, 0.1, 0.1) == "100 ms"


def test_what_cannot_be_known_has_a_sign_of_its_own() -> None:
    assert (ratio_text(math.nan), count_text(math.nan), joined([])) == ("–", "–", "")
    assert percent_text(math.nan) == "–"


QUANTITIES = {
    "0.5000 [0.4000, 0.6000]": Quantity("0.5000 [0.4000, 0.6000]", 0.5, 0.4, 0.6),
    "12 ms": seconds_text(0.0123),
    "–": number_text(math.nan),
    "not reached": count_text(math.inf),
}


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES)
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy]
    + [
        lambda one, protocol=protocol: pickle.loads(pickle.dumps(one, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ],
)
def test_a_quantity_keeps_its_numbers_where_it_is_copied(quantity: Quantity, copied: Any) -> None:
    other = copied(quantity)
    assert type(other) is Quantity
    assert (other, repr(other.value), other.low, other.high) == (
        str(quantity),
        repr(quantity.value),
        quantity.low,
        quantity.high,
    )


def test_a_quantity_is_the_text_that_is_shown_and_knows_the_number_unrounded() -> None:
    shown = interval_text(0.123456789, 0.1, 0.15)
    assert shown == "0.123 [0.100, 0.150]"
    assert (shown.value, shown.low, shown.high) == (0.123456789, 0.1, 0.15)
    assert {seconds_text(0.0123): 1}["12 ms"] == 1  # it is found as its text
    assert type(shown + "!") is str


@pytest.mark.parametrize(
    "ends", [(math.nan, math.nan), (0.1, math.nan), (math.nan, 0.2), (None, None), (0.1, None)]
)
def test_an_interval_that_is_not_known_at_both_ends_is_none(ends: tuple[Any, Any]) -> None:
    quantity = Quantity("0.15", 0.15, *ends)
    assert (quantity.low, quantity.high) == (None, None)


def test_an_interval_may_reach_to_infinity() -> None:
    assert Quantity("x", 1.0, 0.5, math.inf).high == math.inf


def test_a_table_carries_the_numbers_by_which_it_is_sorted_and_kept() -> None:
    rows = [
        ["a <b>", interval_text(0.5, 0.25, 0.75), seconds_text(0.0123), "5 of 6"],
        ["c", *QUANTITIES.values()][:4],
    ]
    table = Table("T", [METHOD, *numbers("Mean", "Time", "Reached")], rows)
    source = '{% import "macros.html.j2" as show with context %}{{ show.data_table(table) }}'
    markup = _templates().from_string(source).render(contents=Contents({}), table=table)
    markup = markup.replace("\xa0", " ")  # no line's end parts a number from its unit
    assert re.findall(r"<td([^>]*)>([^<]*)</td>", markup) == [
        (' class="number" data-value="0.5" data-low="0.25" data-high="0.75"', "0.50 [0.25, 0.75]"),
        (' class="number" data-value="0.0123"', "12 ms"),
        (' class="number"', "5 of 6"),
        (' class="number" data-value="0.5" data-low="0.4" data-high="0.6"', "0.5000 [0.4000, 0.6000]"),
        (' class="number" data-value="0.0123"', "12 ms"),
        (' class="number" data-value="nan"', "–"),
    ]
    assert re.findall(r'<tr data-method="([^"]*)">', markup) == ["a &lt;b&gt;", "c"]
    assert '<th scope="row">a &lt;b&gt;</th>' in markup


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://me:p@ss:word@host:8000/a?b=c#d", "http://host:8000/a?b=c#d"),
        ("HTTPS://token@host", "https://host"),
        (" http://me:secret@host/data ", "http://host/data"),
        ("http://host/a@b", "http://host/a@b"),
        ("/folder/me:secret@home", "/folder/me:secret@home"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_whoever_may_use_it(address: str, text: str) -> None:
    assert address_text(address) == text


@pytest.mark.parametrize(
    ("found", "expected", "text"),
    [
        ({"a": [1, 2]}, {"a": [1, 2]}, ""),
        ({"a": 1}, {"b": 1}, "a is 1 instead of None, b is None instead of 1"),
        ({"a": {"b": {"c": 0.1}}}, {"a": {"b": {"c": 0.2}}}, "a.b.c is 0.1 instead of 0.2"),
        ({"a": {"b": 1}}, {"a": None}, "a is {'b': 1} instead of None"),
        (0.1 + 0.2, 0.3, "is 0.30000000000000004 instead of 0.3"),
    ],
)
def test_differences_are_told_by_their_place_with_both_values(found: Any, expected: Any, text: str) -> None:
    assert differences_text(found, expected) == text
