"""Numbers go in; what a reader sees of them comes out: rounded as far as they are known, with their units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ABSENT = "–"

_ROUNDING = 1e-12
"""A difference this small, relative to the number, is rounding's."""

TITLES = {
    "train_loss": "Training loss",
    "test_loss": "Test loss",
    "test_accuracy": "Test accuracy",
    "steps_to_target": "Steps to target",
    "time_to_target_s": "Time to target",
}
"""What a run is told by, and its name."""


class Quantity(str):
    """A number in words that still knows its value, and the ends of its interval: a page sorts and exports by them.

    >>> shown = interval_text(0.41234, 0.39, 0.4312)
    >>> shown, shown.value, shown.low
    ('0.412 [0.390, 0.431]', 0.41234, 0.39)
    """

    value: float
    low: float | None
    high: float | None

    def __new__(
        cls, text: str, value: float, low: float | None = None, high: float | None = None
    ) -> Quantity:
        """Return the text with its value, and with an interval where both ends are numbers."""
        shown = super().__new__(cls, text)
        shown.value = float(value)
        known = low is not None and high is not None and not (math.isnan(low) or math.isnan(high))
        shown.low, shown.high = (low, high) if known else (None, None)
        return shown

    def __getnewargs__(self) -> tuple[str, float, float | None, float | None]:  # type: ignore[override]
        """Return what makes a copy, in another process too."""
        return str(self), self.value, self.low, self.high


def number_text(value: float, *, decimals: int | None = None) -> Quantity:
    """Return a number with `decimals` digits after the point, or with three significant ones.

    >>> number_text(0.41234), number_text(-1.5, decimals=2), number_text(math.inf), number_text(math.nan)
    ('0.412', '−1.50', '∞', '–')
    """
    if math.isnan(value):
        return Quantity(ABSENT, value)
    if math.isinf(value):
        return Quantity("∞" if value > 0 else "−∞", value)
    if decimals is None:
        decimals = 3 if value == 0 else min(max(2 - math.floor(math.log10(abs(value))), 0), 6)
    return Quantity(f"{value:z,.{decimals}f}".replace("-", "−"), value)


def interval_text(mean: float, low: float, high: float) -> Quantity:
    """Return a mean and its interval, to two digits of the interval's width; the mean alone without one.

    A width that only rounding makes is none.

    >>> interval_text(0.41234, 0.39, 0.4312), interval_text(0.5, math.nan, math.nan)
    ('0.412 [0.390, 0.431]', '0.500')
    >>> interval_text(0.5, 0.5, 0.5 + 1e-16), interval_text(2.1e-6, 1.9e-6, 2.4e-6)
    ('0.500 [0.500, 0.500]', '0.00000210 [0.00000190, 0.00000240]')
    """
    if math.isnan(low) or math.isnan(high):
        return number_text(mean)
    width = high - low
    decimals = min(max(1 - math.floor(math.log10(width)), 0), 9) if width > _ROUNDING * abs(mean) else 3
    text = f"{number_text(mean, decimals=decimals)} [{range_text(low, high, decimals=decimals)}]"
    return Quantity(text, mean, low, high)


def signed_interval_text(mean: float, low: float, high: float) -> Quantity:
    """Return a mean difference and its interval; one that is more by what is shown of it has a sign.

    >>> signed_interval_text(0.41234, 0.39, 0.4312), signed_interval_text(1e-9, -0.1, 0.1)
    ('+0.412 [0.390, 0.431]', '0.00 [−0.10, 0.10]')
    """
    text = interval_text(mean, low, high)
    is_more = mean > 0 and bool(re.search(r"[1-9∞]", text.partition(" ")[0]))
    return Quantity(f"{'+' if is_more else ''}{text}", mean, low, high)


def range_text(low: float, high: float, *, decimals: int) -> str:
    """Return both ends of an interval.

    >>> range_text(0.39, 0.4312, decimals=2)
    '0.39, 0.43'
    """
    return f"{number_text(low, decimals=decimals)}, {number_text(high, decimals=decimals)}"


def ratio_text(ratio: float, low: float = math.nan, high: float = math.nan) -> Quantity:
    """Return how many times something is, to two significant digits or more, with its interval if it has one.

    >>> ratio_text(5.418), ratio_text(132.4), ratio_text(0.05), ratio_text(9.72, 8.88, 10.46)
    ('5.4×', '132×', '0.050×', '9.7× [8.9, 10.5]')
    >>> ratio_text(1.312, 1.284, 1.341), ratio_text(0.5, 0.5, 0.5 + 1e-16)
    ('1.31× [1.28, 1.34]', '0.50× [0.50, 0.50]')
    """
    if not math.isfinite(ratio) or ratio <= 0:
        return number_text(ratio)
    decimals = min(max(1 - math.floor(math.log10(ratio)), 0), 6)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Quantity(f"{number_text(ratio, decimals=decimals)}×", ratio)
    if high - low > _ROUNDING * ratio:
        decimals = max(decimals, min(math.ceil(-math.log10(high - low)), 4))
    text = f"{number_text(ratio, decimals=decimals)}× [{range_text(low, high, decimals=decimals)}]"
    return Quantity(text, ratio, low, high)


def floor_text(floor: float) -> Quantity:
    """Return by how much a thing differs from itself: a ratio a little above 1, to the digit that says so.

    >>> floor_text(1.0431), floor_text(1.0024), floor_text(2.0), floor_text(math.nan)
    ('1.04×', '1.002×', '2.00×', '–')
    """
    if not math.isfinite(floor):
        return number_text(floor)
    above = max(floor - 1, 1e-4)
    text = f"{number_text(floor, decimals=min(max(-math.floor(math.log10(above)), 2), 4))}×"
    return Quantity(text, floor)


def bytes_text(size: float) -> Quantity:
    """Return a size in memory with two significant digits or more, and its unit, a thousand to the next.

    >>> bytes_text(812), bytes_text(23_400), bytes_text(1_260_000), bytes_text(53_900_000), bytes_text(0)
    ('810 B', '23 kB', '1.3 MB', '54 MB', '0 B')
    """
    if not math.isfinite(size):
        return number_text(size)
    units = (("B", 1.0), ("kB", 1e3), ("MB", 1e6))
    unit, scale = next((one for one in units if abs(float(f"{size / one[1]:.2g}")) < 1000), ("GB", 1e9))
    rounded = float(f"{size / scale:.2g}")
    text = f"{number_text(rounded, decimals=int(abs(rounded) < 10 and unit != 'B'))} {unit}"
    return Quantity(text, size)


def seconds_text(seconds: float) -> Quantity:
    """Return a duration with two significant digits or more, and its unit.

    >>> seconds_text(0.0123), seconds_text(4.26), seconds_text(125), seconds_text(0.99999)
    ('12 ms', '4.3 s', '125 s', '1.0 s')
    """
    if not math.isfinite(seconds):
        return number_text(seconds)
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if (rounded := float(f"{seconds * scale:.2g}")) < 1000:
            return Quantity(f"{rounded:.{int(rounded < 10)}f} {unit}", seconds)
    return Quantity(f"{seconds:,.{int(seconds < 10)}f} s", seconds)


def seconds_interval_text(seconds: float, low: float, high: float) -> Quantity:
    """Return a duration and its interval in one unit, as far as the interval's width tells them apart.

    >>> seconds_interval_text(0.001312, 0.001287, 0.001344), seconds_interval_text(4.26, math.nan, math.nan)
    ('1.31 [1.29, 1.34] ms', '4.3 s')
    """
    if not (math.isfinite(seconds) and math.isfinite(low) and math.isfinite(high)) or high <= low:
        return seconds_text(seconds)
    unit, scale = next(
        (
            (unit, scale)
            for unit, scale in (("µs", 1e6), ("ms", 1e3))
            if float(f"{seconds * scale:.2g}") < 1000
        ),
        ("s", 1.0),
    )
    decimals = max(
        0, 1 - math.floor(math.log10(seconds * scale)), math.ceil(-math.log10((high - low) * scale))
    )
    ends = range_text(low * scale, high * scale, decimals=min(decimals, 4))
    text = f"{number_text(seconds * scale, decimals=min(decimals, 4))} [{ends}] {unit}"
    return Quantity(text, seconds, low, high)


def percent_text(rate: float) -> Quantity:
    """Return a rate as a percentage that says 0 or 100 only of none or all.

    >>> percent_text(0.256), percent_text(1 / 290), percent_text(289.5 / 290), percent_text(1)
    ('26 %', '<1 %', '>99 %', '100 %')
    """
    if math.isnan(rate):
        return Quantity(ABSENT, rate)
    if 0 < rate < 0.005:
        return Quantity("<1 %", rate)
    return Quantity(">99 %" if 0.995 <= rate < 1 else f"{100 * rate:.0f} %", rate)


def p_text(p_value: float) -> str:
    """Return a p-value as it is usually quoted.

    >>> p_text(0.03125), p_text(0.00012)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def count_text(count: float) -> Quantity:
    """Return a count with its thousands apart.

    >>> count_text(11_800), count_text(math.inf), count_text(45.5)
    ('11,800', 'not reached', '45.5')
    """
    if math.isinf(count):
        return Quantity("not reached", count)
    return Quantity(ABSENT if math.isnan(count) else f"{count:,.1f}".removesuffix(".0"), count)


def large_text(number: float) -> Quantity:
    """Return a number that may be very large: a million and more in words, with three significant digits.

    >>> large_text(11_800), large_text(39_312_000), large_text(2e9), large_text(999_999_999), large_text(math.inf)
    ('11,800', '39.3 million', '2 billion', '1 billion', 'not reached')
    """
    rounded = float(f"{number:.3g}")
    for name, scale in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        if math.isfinite(rounded) and abs(rounded) >= scale:
            return Quantity(f"{rounded / scale:,g} {name}", number)
    return count_text(number)


def tick_text(value: float) -> str:
    """Return a tick's number without exponents.

    >>> [tick_text(value) for value in (0, 0.01, 10, 1000, 100_000, 1_000_000, 2e10)]
    ['0', '0.01', '10', '1000', '100k', '1M', '20G']
    """
    for suffix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= max(scale, 1e4):
            return f"{value / scale:g}{suffix}"
    return f"{value:g}"


def joined(words: Sequence[str], *, last: str = "and") -> str:
    """Return words as a sentence lists them.

    >>> joined(["penguins"]), joined(["a", "b", "c"])
    ('penguins', 'a, b and c')
    """
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def unbroken(text: str) -> str:
    """Return a text that no line's end parts a number from its unit or its whole, nor an interval's ends.

    >>> unbroken("15 % of 1.3 [1.2, 1.4] ms in 2 of 10 steps")
    '15\\xa0% of 1.3 [1.2,\\xa01.4]\\xa0ms in 2\\xa0of\\xa010 steps'
    """
    text = re.sub(r"(?<=[\d∞],) (?=[−\d,.∞]+\])", "\xa0", text)
    text = re.sub(r"(?<=\d) of (?=\d)", "\xa0of\xa0", text)
    return re.sub(r"(?<=[\d\]]) (?=%|(?:s|ms|µs|B|kB|MB|GB)\b)", "\xa0", text)


def capital(text: str) -> str:
    """Return a text with its first letter as a sentence begins, the others as they are.

    >>> capital("no speed-up in PyTorch"), capital("")
    ('No speed-up in PyTorch', '')
    """
    return text[:1].upper() + text[1:]


def counted(number: int, thing: str) -> str:
    """Return a number of things.

    >>> counted(1, "run"), counted(3, "run")
    ('1 run', '3 runs')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def address_text(address: str) -> str:
    """Return an http(s) address without a name and password in it; anything else as it is.

    >>> address_text("https://me:secret@example.org/data")
    'https://example.org/data'
    """
    if not address.strip().lower().startswith(("http://", "https://")):
        return address
    parts = urlsplit(address.strip())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def differences_text(found: Any, expected: Any) -> str:
    """Return in words where two values of JSON differ, or nothing where they are equal.

    >>> differences_text({"rate": 0.1, "model": {"widths": [8]}}, {"rate": 0.2, "model": {"widths": [16]}})
    'model.widths is [8] instead of [16], rate is 0.1 instead of 0.2'
    """
    return ", ".join(_differences("", found, expected))


def _differences(where: str, found: Any, expected: Any) -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*found, *expected}):
            yield from _differences(f"{where}.{key}".lstrip("."), found.get(key), expected.get(key))
    elif found != expected:
        yield f"{where} is {found!r} instead of {expected!r}".strip()
