"""Numbers a seed or a round go in; means, medians and exponents with intervals, and verdicts, come out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["better", "worse", "not resolved"]

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE
LEAST_PAIRS = 6
"""Below this a two-sided sign-flip test cannot reach 0.05: its least p is 2 / 2ⁿ."""

NUM_RESAMPLES = 9_999
MEDIAN_RESAMPLES = 1_999
"""Fewer: the medians of resamples of few values are few, and of medians there are hundreds a study."""

EXACT_UP_TO = 14
"""Pairs up to which all 2ⁿ sign flips are enumerated; beyond, as many as that are drawn."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval, its ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """The mean over pairs of value − baseline, and what may be claimed about it."""

    num_pairs: int
    mean: float
    interval: Interval | None
    p_value: float
    verdict: Verdict


@dataclass(frozen=True)
class PowerLaw:
    """How a value grows with a size: its power, and the power's interval."""

    exponent: float
    interval: Interval | None


def mean_interval(values: Sequence[float] | Floats, *, num_resamples: int = NUM_RESAMPLES) -> Interval | None:
    """Return the 95 % bootstrap interval of the mean of `values` [n], bias-corrected and accelerated (BCa).

    BCa is Efron 1987, "Better bootstrap confidence intervals"; where it is undefined (the jackknife or the
    resamples leave it no spread to correct by), the percentile interval stands in. The resampling is seeded:
    the same values give the same interval. None for a single value, which says nothing about spread, and
    where a value is not finite.

    >>> interval = mean_interval([0.7, 0.9, 0.8, 0.9, 0.7, 0.8])
    >>> interval.low < 0.8 < interval.high
    True
    >>> mean_interval([0.5]) is None
    True
    """
    return _interval([values], np.mean, num_resamples)


def median_interval(
    values: Sequence[float] | Floats, *, num_resamples: int = MEDIAN_RESAMPLES
) -> Interval | None:
    """Return the 95 % BCa interval of the median of `values` [n], by the rules of `mean_interval`.

    >>> interval = median_interval([1.0, 1.1, 0.9, 1.0, 1.2, 7.0])
    >>> interval.low < 1.05 < interval.high
    True
    """
    return _interval([values], np.median, num_resamples)


def time_to_target_interval(
    steps: Sequence[float] | Floats, step_times: Sequence[float] | Floats
) -> Interval | None:
    """Return the 95 % BCa interval of median(`steps` [seeds]) × median(`step_times` [rounds]).

    Seeds and rounds are two samples, resampled independently of each other: either's spread widens the interval.

    >>> interval = time_to_target_interval([90, 100, 110, 105], [0.1, 0.11, 0.1])
    >>> interval.low < 10.25 < interval.high
    True
    """
    return _interval([steps, step_times], _product_of_medians)


def power_law(sizes: Sequence[float] | Floats, values: Sequence[float] | Floats) -> PowerLaw:
    """Return the exponent b of values ∝ sizesᵇ: the slope of the least-squares line through their logarithms.

    Its 95 % interval is b ± t₀.₉₇₅(n − 2) · (standard error of b), for n ≥ 3 sizes; without two different
    sizes, or where a value is not positive, there is no exponent (NaN).

    >>> power_law([1, 2, 4], [3, 12, 48]).exponent
    2.0
    """
    from scipy import stats

    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(set(x)) < 2 or not (np.isfinite(y) & (y > 0)).all():
        return PowerLaw(math.nan, None)
    if np.ptp(y) == 0:
        return PowerLaw(0.0, Interval(0.0, 0.0) if x.size > 2 else None)
    line = stats.linregress(np.log(x), np.log(y))
    exponent = float(line.slope)
    if x.size < 3:
        return PowerLaw(exponent, None)
    reach = float(line.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, x.size - 2))
    return PowerLaw(exponent, Interval(exponent - reach, exponent + reach))


def ends(interval: Interval | None) -> tuple[float, float]:
    """Return an interval's ends, NaN where there is none.

    >>> ends(Interval(1.0, 2.0)), ends(None)
    ((1.0, 2.0), (nan, nan))
    """
    return (interval.low, interval.high) if interval else (math.nan, math.nan)


def sign_flip_p_value(differences: Sequence[float] | Floats) -> float:
    """Return the two-sided p-value of "the paired differences [n] are symmetric about zero".

    The statistic is the mean; its null distribution comes from flipping signs, all 2ⁿ of them up to n = 14
    and 2¹⁴ seeded draws beyond. The least value possible is 2 / 2ⁿ.

    >>> sign_flip_p_value([3.0, 2.0, -1.0])
    0.5
    """
    from scipy import stats

    sample = np.asarray(differences, dtype=np.float64)
    if sample.size < 2 or not np.isfinite(sample).all() or not sample.any():
        return 1.0
    test = stats.permutation_test(
        (sample,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_UP_TO,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def sign_test_p_value(differences: Sequence[float] | Floats) -> float:
    """Return the two-sided p-value of "a difference [n] is as often positive as negative"; zeros are left out.

    The exact sign test: it asks of the median what `sign_flip_p_value` asks of the mean, and no outlier moves it.
    The least value possible is 2 / 2ⁿ.

    >>> sign_test_p_value([3.0, 2.0, 900.0])
    0.25
    """
    from scipy import stats

    signs = np.sign(np.asarray(differences, dtype=np.float64))
    num_positive, num_negative = int((signs > 0).sum()), int((signs < 0).sum())
    if not num_positive + num_negative:
        return 1.0
    return float(stats.binomtest(num_positive, num_positive + num_negative).pvalue)


def paired_difference(
    values: Sequence[float] | Floats, baseline: Sequence[float] | Floats, *, higher_is_better: bool
) -> PairedDifference:
    """Return the mean of values − baseline, both [n] in the same order of seeds, with interval and verdict.

    A difference is claimed only if its BCa interval excludes zero *and* the sign-flip test falls below 0.05,
    which takes six pairs or more; everything else is "not resolved".

    >>> paired_difference([5, 6, 7, 5, 6, 7], [1, 1, 2, 2, 1, 1], higher_is_better=True).verdict
    'better'
    """
    differences = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    interval = mean_interval(differences)
    p_value = sign_flip_p_value(differences)
    return PairedDifference(
        num_pairs=int(differences.size),
        mean=float(differences.mean()) if differences.size else float("nan"),
        interval=interval,
        p_value=p_value,
        verdict=_verdict(interval, p_value, higher_is_better=higher_is_better),
    )


def paired_time_to_target(
    steps: Sequence[float] | Floats, step_times: Sequence[float] | Floats
) -> PairedDifference:
    """Return the mean log ratio of times to target: mean(`steps` [seeds]) + log median(`step_times` [rounds]).

    `steps` are log ratios of the steps to target of each pair, `step_times` ratios of both step times a round.
    The interval is BCa over seeds and rounds, two samples resampled independently; the sign-flip test is over seeds.

    >>> paired_time_to_target([0.5, 0.6, 0.4, 0.5, 0.7, 0.3], [2.0, 2.1, 1.9]).verdict
    'worse'
    """
    ratios, times = np.asarray(steps, dtype=np.float64), np.asarray(step_times, dtype=np.float64)
    known = ratios.size > 0 and times.size > 0
    interval = _interval([ratios, times], _log_time_to_target) if known else None
    p_value = sign_flip_p_value(ratios + np.log(np.median(times))) if known else 1.0
    return PairedDifference(
        num_pairs=int(ratios.size) if known else 0,
        mean=float(_log_time_to_target(ratios, times)) if known else math.nan,
        interval=interval,
        p_value=p_value,
        verdict=_verdict(interval, p_value, higher_is_better=False),
    )


def _log_time_to_target(steps: Floats, step_times: Floats, axis: int = -1) -> Floats:
    log_ratio: Floats = np.mean(steps, axis=axis) + np.log(np.median(step_times, axis=axis))
    return log_ratio


def _product_of_medians(steps: Floats, step_times: Floats, axis: int = -1) -> Floats:
    product: Floats = np.median(steps, axis=axis) * np.median(step_times, axis=axis)
    return product


def _verdict(interval: Interval | None, p_value: float, *, higher_is_better: bool) -> Verdict:
    if interval is None or p_value >= SIGNIFICANCE or interval.low <= 0 <= interval.high:
        return "not resolved"
    return "better" if (interval.low > 0) == higher_is_better else "worse"


def _interval(
    samples: Sequence[Sequence[float] | Floats],
    statistic: Callable[..., Any],
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the interval of a statistic of independent samples, by the rules of `mean_interval`."""
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if any(sample.size < 2 or not np.isfinite(sample).all() for sample in arrays):
        return None
    if all(np.ptp(sample) == 0 for sample in arrays):
        point = float(statistic(*(sample[:1] for sample in arrays)))
        return Interval(point, point)
    accelerated = _bootstrap(arrays, statistic, "BCa", num_resamples)
    if np.isfinite([accelerated.low, accelerated.high]).all():
        return accelerated
    return _bootstrap(arrays, statistic, "percentile", num_resamples)


def _bootstrap(
    samples: Sequence[Floats],
    statistic: Callable[..., Any],
    method: Literal["BCa", "percentile"],
    num_resamples: int,
) -> Interval:
    from scipy import stats

    with warnings.catch_warnings():  # a degenerate BCa is told by its NaN, and handled
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            samples,
            statistic,
            confidence_level=CONFIDENCE,
            n_resamples=num_resamples,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
    return Interval(float(found.low), float(found.high))
