"""Numbers a seed go in; means with intervals, and verdicts that may be "not resolved", come out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["better", "worse", "not resolved"]

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE
LEAST_PAIRS = 6
"""Below this a two-sided sign-flip test cannot reach 0.05: its least p is 2 / 2ⁿ."""

NUM_RESAMPLES = 9_999
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
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2 or not np.isfinite(sample).all():
        return None
    if np.ptp(sample) == 0:
        return Interval(float(sample[0]), float(sample[0]))
    accelerated = _bootstrap(sample, "BCa", num_resamples)
    if np.isfinite([accelerated.low, accelerated.high]).all():
        return accelerated
    return _bootstrap(sample, "percentile", num_resamples)


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


def _verdict(interval: Interval | None, p_value: float, *, higher_is_better: bool) -> Verdict:
    if interval is None or p_value >= SIGNIFICANCE or interval.low <= 0 <= interval.high:
        return "not resolved"
    return "better" if (interval.low > 0) == higher_is_better else "worse"


def _bootstrap(sample: Floats, method: Literal["BCa", "percentile"], num_resamples: int) -> Interval:
    from scipy import stats

    with warnings.catch_warnings():  # a degenerate BCa is told by its NaN, and handled
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (sample,),
            np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=num_resamples,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
    return Interval(float(found.low), float(found.high))
