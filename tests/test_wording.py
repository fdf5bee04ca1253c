"""Numbers as a reader sees them, at the edges that the docstrings' examples leave out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fgbench.wording import (
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
