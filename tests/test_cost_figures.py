"""Charts of what a step costs: what they draw, that they are repeatable, small, and can share a page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import records

from fgbench.cost_figures import (
    POINTS_SHOWN,
    Arrival,
    Bar,
    Growth,
    Ratio,
    growth_chart,
    parts_chart,
    ratio_chart,
    ratio_limit,
    target_chart,
)
from fgbench.cost_findings import round_values
from fgbench.svg import method_styles
from fgbench.tables import study_tables

HOSTILE = "<script>alert('$x$')</script> お " + "long" * 50
STYLES = method_styles(["backprop", "mine", HOSTILE])
WORDS = {"title": "A title", "description": "A finding."}
SPEC = np.linspace(1.25, 1.4, 20)


def ratio(method: str = "mine", **changes: Any) -> Ratio:
    numbers = {"ratio": 1.3, "low": 1.27, "high": 1.33, "floor": 1.04, "verdict": "worse"}
    return Ratio(method=method, **({"rounds": SPEC, "text": f"{method}: slower"} | numbers | changes))


def ratios(key: str = "k", *drawn: Ratio, limit: float = 2.2) -> str:
    return ratio_chart(drawn or [ratio(HOSTILE)], styles=STYLES, limit=limit, key=key, **WORDS)


def parts(key: str = "k", *drawn: Bar) -> str:
    shown = {"draw": 0.2e-3, "estimate": 0.5e-3, "product": 0.1e-3, "update": 0.2e-3}
    return parts_chart(
        drawn or [Bar(HOSTILE, shown, SPEC / 1e3, 1.3e-3, f"{HOSTILE}: 1.3 ms")], key=key, **WORDS
    )


def growth(key: str = "k", *drawn: Growth, quantity: str = "step_time_s") -> str:
    sizes = np.repeat([5.0, 10.0, 20.0, 40.0, 80.0], 4)
    lines = drawn or [Growth(HOSTILE, sizes, 1e-4 * sizes, 1.0)]
    return growth_chart(lines, quantity=quantity, axis="depth", styles=STYLES, key=key, **WORDS)


def target(key: str = "k", *drawn: Arrival) -> str:
    arrivals = drawn or [
        Arrival(HOSTILE, np.array([0.1, 0.2]), 0.15, 0.1, 0.2, f"{HOSTILE}: 150 ms, reached 2/2")
    ]
    return target_chart(arrivals, styles=STYLES, limits=(0.05, 0.5), key=key, **WORDS)


CHARTS: list[Callable[[str], str]] = [ratios, parts, growth, target]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def num_marks(svg: str) -> int:
    return svg.count("<use ")


@pytest.mark.parametrize("draw", CHARTS)
def test_charts_are_well_formed_repeatable_and_say_what_they_show(draw: Callable[[str], str]) -> None:
    svg = draw("k")
    title, description, *_ = ET.fromstring(svg)
    assert (title.text, description.text) == ("A title", "A finding.")
    assert svg == draw("k")
    assert not re.search(r"<style|<image|<metadata|font-family|https?://(?!www\.w3\.org/2000/svg)", svg)


@pytest.mark.parametrize("draw", CHARTS)
def test_two_charts_on_a_page_share_no_id_and_refer_to_their_own(draw: Callable[[str], str]) -> None:
    ids = [set(re.findall(r'\sid="([^"]*)"', draw(key))) for key in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:url\(|href=")#([^")]*)', draw("a"))) <= ids[0]


@pytest.mark.parametrize("draw", CHARTS)
def test_a_hostile_name_is_text_and_is_cut_short(draw: Callable[[str], str]) -> None:
    svg = draw("k")
    assert "<script" not in svg
    assert max(map(len, texts(svg))) < 60
    if draw is not growth:  # its methods stand in the page's legend
        assert any(text.startswith("<script>alert('$x$')") and "…" in text for text in texts(svg))


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (1.3, ["⅘×", "1×", "1.25×"]),
        (2.2, ["½×", "⅔×", "1×", "1.5×", "2×"]),
        (5.0, ["¼×", "½×", "1×", "2×", "4×"]),
        (20.0, ["1/16×", "¼×", "1×", "4×", "16×"]),
        (200.0, ["1/100×", "1/10×", "1×", "10×", "100×"]),
    ],
)
def test_the_ratios_axis_is_symmetric_around_one_and_names_both_sides(limit: float, names: list[str]) -> None:
    assert [text for text in texts(ratios("k", ratio(), limit=limit)) if text.endswith("×")][
        : len(names)
    ] == names


def test_the_ratios_axis_shows_every_round_and_the_noise() -> None:
    assert ratio_limit([ratio(rounds=np.array([0.2, 1.1]))]) > 5
    assert ratio_limit([ratio(floor=3.0)]) > 3
    assert ratio_limit(
        [ratio(low=math.nan, high=math.nan, floor=math.nan, rounds=np.empty(0))]
    ) == pytest.approx(1.3**1.06)
    assert ratio_limit([]) == 1.3


def test_every_round_is_a_point_and_the_noise_is_a_band_behind_them() -> None:
    with_noise, without = ratios("k", ratio()), ratios("k", ratio(floor=math.nan))
    assert num_marks(with_noise) - num_marks(ratios("k", ratio(rounds=SPEC[:5]))) == 15
    assert with_noise.count("opacity: 0.16") > without.count("opacity: 0.16")


def test_a_thousand_rounds_stay_a_small_chart() -> None:
    many = ratio(rounds=np.geomspace(0.8, 2, 1000))
    assert num_marks(ratios("k", many)) < POINTS_SHOWN + 20
    assert len(ratios("k", many)) < 30_000
    assert len(parts("k", Bar("mine", {"draw": 1e-3}, many.rounds, 1.0, "mine"))) < 30_000


def test_a_ratio_without_an_interval_is_drawn_without_one() -> None:
    alone = ratio(low=math.nan, high=math.nan, floor=math.nan, rounds=np.array([1.3]))
    ET.fromstring(ratios("k", alone))
    assert len(ratios("k", alone)) < len(ratios("k", ratio()))


def test_parts_are_stacked_with_their_shares_of_the_whole_step() -> None:
    svg = parts()
    assert [text for text in texts(svg) if text.endswith("%")] == ["20 %", "50 %", "20 %"]  # 10 % has no room
    assert [f"var(--part-{place}" in svg for place in range(4)] == [True] * 4
    assert "time of a step (ms)" in texts(svg)
    assert "time of a step (µs)" in texts(parts("k", Bar("mine", {}, SPEC / 1e6, 1.3e-6, "mine")))


def test_a_round_that_took_far_longer_stays_on_the_axis_and_does_not_stretch_it() -> None:
    usual = parts("k", Bar("mine", {"draw": 1e-3}, np.array([1e-3, 1.1e-3]), 1e-3, "mine"))
    longer = parts("k", Bar("mine", {"draw": 1e-3}, np.array([1e-3, 1.0]), 1e-3, "mine"))
    assert num_marks(longer) >= num_marks(usual)
    assert max(float(text) for text in texts(longer) if re.fullmatch(r"[\d.]+", text)) <= 1.6


def test_growth_names_the_sizes_and_units_and_draws_the_power_law_through_the_medians() -> None:
    assert {"5", "10", "20", "40", "80", "time of a step", "depth"} <= set(texts(growth()))
    sizes = np.array([16.0, 64.0, 256.0, 1024.0])
    memory = growth("k", Growth("mine", sizes, 1e6 * sizes, 1.0), quantity="peak_memory_bytes")
    assert {"100 MB", "peak memory"} <= set(texts(memory))
    flat = growth("k", Growth("mine", sizes, np.full(4, 1e7), 0.0), quantity="peak_memory_bytes")
    ET.fromstring(flat)
    ET.fromstring(growth("k", Growth("mine", sizes[:1], 1e-3 * sizes[:1], math.nan)))


def test_a_median_that_most_runs_missed_is_an_arrow() -> None:
    reached = Arrival("mine", np.array([0.1]), 0.1, math.nan, math.nan, "mine")
    missed = Arrival("mine", np.array([0.1]), math.inf, math.nan, math.nan, "mine")
    nobody = Arrival("mine", np.empty(0), math.inf, math.nan, math.nan, "mine")
    assert num_marks(target("k", missed)) == num_marks(target("k", reached)) + 1
    assert num_marks(target("k", nobody)) == num_marks(target("k", missed)) - 1


def test_a_rounds_value_is_the_mean_of_its_two_blocks() -> None:
    runs = records.run_records()
    cost = records.cost_record(runs, rounds=3, noise=0.1)
    blocks = study_tables(runs, cost=cost)["blocks"]
    mlp = blocks[blocks["model"] == "mlp"]
    timed = next(
        one["step_time_s"]
        for experiment in cost["experiments"]
        for one in experiment["times"]
        if experiment["model"] == "mlp"
        and (one["method"], one["engine"], one["part"], one["twin"]) == ("backprop", "eager", "step", False)
    )
    assert round_values(mlp, "backprop").tolist() == pytest.approx(np.mean(timed, axis=1).tolist())
    assert round_values(mlp, "none").size == 0
