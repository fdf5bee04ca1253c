"""Intervals, tests and verdicts against answers known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fgbench.statistics import mean_interval, paired_difference, sign_flip_p_value


def test_the_interval_of_a_large_normal_sample_is_the_textbook_one() -> None:
    sample = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    interval = mean_interval(sample)
    half_width = 1.96 * sample.std(ddof=1) / math.sqrt(400)
    assert interval is not None
    assert interval.low == pytest.approx(sample.mean() - half_width, abs=0.03)
    assert interval.high == pytest.approx(sample.mean() + half_width, abs=0.03)


def test_the_interval_of_a_skewed_sample_reaches_further_on_the_long_side() -> None:
    sample = np.random.default_rng(0).exponential(size=30)
    interval = mean_interval(sample)
    assert interval is not None
    assert interval.high - sample.mean() > 1.1 * (sample.mean() - interval.low)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    samples = rng.normal(1.0, 1.0, size=(300, 20))
    intervals = [mean_interval(sample, num_resamples=499) for sample in samples]
    covered = np.mean(
        [interval is not None and interval.low <= 1.0 <= interval.high for interval in intervals]
    )
    assert 0.88 <= covered <= 0.98  # 0.95 less what 20 values cost a bootstrap, ± three standard errors


def test_the_same_values_give_the_same_interval() -> None:
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    assert mean_interval(values) == mean_interval(values)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan], [0.5, math.inf, 1.0]])
def test_there_is_no_interval_without_spread_or_of_what_is_not_finite(values: list[float]) -> None:
    assert mean_interval(values) is None


def test_equal_values_give_an_interval_of_no_width() -> None:
    interval = mean_interval([0.25] * 7)
    assert interval is not None
    assert (interval.low, interval.high) == (0.25, 0.25)


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], [0.0, 0.0, 0.0, 1.0], [0.9, 0.9, 1.0], [1.0, 1.0 + 1e-15, 1.0]]
)
def test_intervals_of_few_or_nearly_equal_values_stay_within_them(values: list[float]) -> None:
    interval = mean_interval(values)
    assert interval is not None
    assert min(values) <= interval.low <= interval.high <= max(values)


@pytest.mark.parametrize(("num_pairs", "least"), [(2, 2 / 4), (5, 2 / 32), (6, 2 / 64), (10, 2 / 1024)])
def test_differences_of_one_sign_have_the_least_p_value(num_pairs: int, least: float) -> None:
    assert sign_flip_p_value(np.arange(1, num_pairs + 1)) == pytest.approx(least)


def test_the_p_value_counts_sign_patterns_by_hand() -> None:
    # |±3 ±2 ±1| is 6, 4, 2 or 0, twice each; 3 + 2 − 1 = 4 is met or exceeded by four of eight.
    assert sign_flip_p_value([3.0, 2.0, -1.0]) == pytest.approx(4 / 8)


def test_the_p_value_of_many_pairs_is_drawn_and_still_right() -> None:
    differences = np.random.default_rng(5).normal(0.5, 1.0, size=40)
    z = differences.sum() / math.sqrt((differences**2).sum())
    normal = math.erfc(abs(z) / math.sqrt(2))  # flipping signs is normal in the limit
    assert sign_flip_p_value(differences) == pytest.approx(normal, abs=0.01)


@pytest.mark.parametrize("differences", [[], [1.0], [0.0, 0.0, 0.0], [1.0, math.nan]])
def test_nothing_is_tested_where_nothing_differs_or_can(differences: list[float]) -> None:
    assert sign_flip_p_value(differences) == 1.0


def test_a_clear_difference_is_claimed_in_the_direction_that_is_better() -> None:
    low, high = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8], [2.0, 2.2, 1.9, 2.1, 2.3, 2.0]
    assert paired_difference(high, low, higher_is_better=True).verdict == "better"
    assert paired_difference(high, low, higher_is_better=False).verdict == "worse"
    assert paired_difference(low, high, higher_is_better=False).verdict == "better"


def test_five_pairs_resolve_nothing_however_clear() -> None:
    assert paired_difference([9.0] * 5, [1.0] * 5, higher_is_better=True).verdict == "not resolved"


def test_a_difference_that_one_seed_makes_is_not_resolved() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]
    assert paired_difference(values, [1.0] * 8, higher_is_better=True).verdict == "not resolved"


def test_no_pairs_give_no_number_and_no_claim() -> None:
    difference = paired_difference([], [], higher_is_better=True)
    assert math.isnan(difference.mean)
    assert (difference.num_pairs, difference.interval, difference.verdict) == (0, None, "not resolved")


def test_chance_differences_are_claimed_in_no_more_than_one_of_twenty() -> None:
    rng = np.random.default_rng(7)
    verdicts = [
        paired_difference(rng.normal(size=8), np.zeros(8), higher_is_better=True).verdict for _ in range(150)
    ]
    assert (
        sum(verdict != "not resolved" for verdict in verdicts) <= 16
    )  # mean 7.5 at most, three deviations more
