"""Numbers as a reader sees them, at the edges that the docstrings' examples leave out."""

from __future__ import annotations

import math

import pytest

from fgbench.wording import (
    count_text,
    interval_text,
    joined,
    number_text,
    percent_text,
    ratio_text,
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


def test_what_cannot_be_known_has_a_sign_of_its_own() -> None:
    assert (ratio_text(math.nan), count_text(math.nan), joined([])) == ("–", "–", "")
    assert percent_text(math.nan) == "–"
