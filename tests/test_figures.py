"""Charts: what they draw, that they are repeatable, and that they can share a page."""

from __future__ import annotations

import base64
import io
import itertools
import re
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import records
from PIL import Image

from fgbench.axes import AXES, Axis
from fgbench.figures import MOST_BANDS, courses, curve_chart, image_uri, profile_chart
from fgbench.statistics import performance_profile
from fgbench.svg import (
    PALETTE,
    PART_PALETTE,
    drawing,
    inlined,
    method_styles,
    name_ticks,
    of_method,
    printable,
)
from fgbench.tables import study_tables

HOSTILE = "<script>alert('$x$')</script> お " + "long" * 50
RUNS = records.run_records(methods=("backprop", HOSTILE))
TABLES = study_tables(
    RUNS, operations=records.operations_record(RUNS), cost=records.cost_record(RUNS, rounds=2)
)
STYLES = method_styles(["backprop", HOSTILE])
CNN = {name: table[table["model"] == "cnn"] for name, table in TABLES.items() if "model" in table}


def chart(key: str = "k", metric: str = "train_loss", **changes: object) -> str:
    arguments = {"metric": metric, "against": AXES[0], "styles": STYLES, "target": records.TARGET}
    words = {"key": key, "title": "A title", "description": "A finding."}
    drawn = courses(CNN["curves"], CNN["runs"], metric)
    return curve_chart(drawn, **(arguments | words | changes))  # type: ignore[arg-type]


def cell(curves: dict[int, list[float | None]], diverged_at: dict[int, int] | None = None) -> pd.DataFrame:
    """Return the spread of training losses recorded at steps 0, 10, … by seed."""
    rows = [
        {"method": "m", "seed": seed, "step": 10 * place, "train_loss": loss, "test_accuracy": 0.5}
        for seed, losses in curves.items()
        for place, loss in enumerate(losses)
    ]
    runs = [
        {
            "method": "m",
            "seed": seed,
            "status": "-",
            "diverged_at_step": (diverged_at or {}).get(seed, np.nan),
        }
        for seed in curves
    ]
    found = {
        metric: courses(pd.DataFrame(rows).astype({"train_loss": float}), pd.DataFrame(runs), metric)[
            "m"
        ].spread
        for metric in ("train_loss", "test_accuracy")
    }
    loss, accuracy = found["train_loss"], found["test_accuracy"]
    columns = {"median": loss.median, "low": loss.low, "high": loss.high, "accuracy_low": accuracy.low}
    return pd.DataFrame(columns, index=loss.steps)


def test_a_run_that_has_stopped_keeps_its_last_value() -> None:
    found = cell({0: [3.0, 1.0], 1: [3.0, 2.0, 2.0, 1.5], 2: [3.0, 2.5, 2.25, 2.0]})
    assert found["median"].tolist() == [3.0, 2.0, 2.0, 1.5]
    assert found["low"].tolist() == [3.0, 1.0, 1.0, 1.0]
    assert found["high"].tolist() == [3.0, 2.5, 2.25, 2.0]


def test_a_diverged_run_counts_as_the_worst_from_then_on() -> None:
    found = cell({0: [3.0, None], 1: [3.0, 2.0, 1.0]}, {0: 10})
    assert found["high"].tolist() == [3.0, np.inf, np.inf]
    assert found["low"].tolist() == [3.0, 2.0, 1.0]
    assert found["accuracy_low"].tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("metric", ["train_loss", "test_loss", "test_accuracy"])
@pytest.mark.parametrize("against", AXES, ids=lambda axis: axis.name)
def test_charts_are_well_formed_and_repeatable(metric: str, against: Axis) -> None:
    svg = chart(metric=metric, against=against)
    ET.fromstring(svg)
    assert svg == chart(metric=metric, against=against)


def test_charts_say_what_they_show() -> None:
    svg = ET.fromstring(chart())
    texts = {
        element.get("id"): element.text
        for element in svg
        if element.get("id") in ("k-title", "k-description")
    }
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "k-title k-description"
    assert texts == {"k-title": "A title", "k-description": "A finding."}


def test_two_charts_on_a_page_share_no_id_and_refer_to_their_own() -> None:
    ids = [set(re.findall(r'\sid="([^"]*)"', chart(key))) for key in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'(?:url\(|href=")#([^")]*)', chart("a")))
    assert used <= ids[0]


def test_every_id_of_a_chart_is_its_only_one_and_whatever_it_refers_to_is_in_it() -> None:
    profile = ET.tostring(profile_of({"a": [10.0, 20.0], "b": [15.0, np.inf]}), encoding="unicode")
    for svg in (*(chart(against=axis) for axis in AXES), chart(styles=method_styles(["backprop"])), profile):
        ids = re.findall(r'\sid="([^"]*)"', svg)
        assert len(ids) == len(set(ids))
        referred = re.findall(r'(?:url\(|href=")#([^")]*)', svg)
        assert referred
        assert set(referred) | set(re.findall(r'aria-labelledby="(\S+) (\S+)"', svg)[0]) <= set(ids)


def test_what_is_drawn_for_a_method_says_so_and_what_is_on_demand_too() -> None:
    with drawing("k", height=1) as figure:
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.plot([0, 1], [0, 1])  # nobody's
        with of_method(axes, HOSTILE):
            axes.plot([0, 1], [1, 0])
            axes.text(0.5, 0.5, "said")
            axes.fill_between([0, 1], [0, 1], [1, 1])
        with of_method(axes, "backprop", on_demand=True):
            axes.plot([0, 1], [0.5, 0.5])
        svg = inlined(figure, "k", "T", "D")
    marked = [one for one in ET.fromstring(svg).iter() if one.get("data-method") is not None]
    told = [(one.get("data-method"), one.get("class")) for one in marked]
    own = [(HOSTILE, "mark"), (HOSTILE, None), (HOSTILE, None)]
    assert sorted(told, key=str) == sorted([*own, ("backprop", "mark seeds")], key=str)
    assert {one.tag.rpartition("}")[2] for one in marked} == {"g"}
    assert all(len(list(one)) for one in marked)
    assert all(
        one.text is None or one.tag.endswith(("text", "title", "desc")) for one in ET.fromstring(svg).iter()
    )


def test_no_number_of_a_chart_has_digits_that_nobody_sees() -> None:
    for against in AXES:
        for element in ET.fromstring(chart(against=against)).iter():
            for name in {*element.keys()} - {"id", "style", "data-method", "data-scales"}:
                assert not re.search(r"\d\.\d{3}|\de[-+]\d", element.get(name, "")), (name, element.attrib)


def test_charts_follow_the_page_in_colour_and_font_and_ask_for_nothing() -> None:
    svg = chart()
    assert "currentColor" in svg
    assert f"var(--series-1, {PALETTE[1][0]})" in svg
    assert not re.search(r"<style|<image|<metadata|font-family|https?://(?!www\.w3\.org/2000/svg)", svg)


def test_a_hostile_name_is_text_in_a_chart_and_is_cut_short() -> None:
    with drawing("k", height=1) as figure:
        figure.text(0, 0, HOSTILE, parse_math=False)
        svg = inlined(figure, "k", HOSTILE, HOSTILE)
    assert "<script" not in svg
    title, description, *_ = ET.fromstring(svg)
    assert (title.text, description.text) == (HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a" * 8, "a" * 8),
        ("a" * 9, "aaaaaaa…"),
        ("おおおお", "おおおお"),
        ("おおおおa", "おおお…"),
        ("a\x00b\x1b[0m\nc", "ab[0mc"),
        ("", ""),
    ],
)
def test_a_text_is_cut_by_its_width_and_rid_of_what_xml_refuses(text: str, shown: str) -> None:
    assert printable(text, longest=8) == shown


def test_a_thousand_records_stay_a_small_chart_with_a_band_that_hides_nothing() -> None:
    steps = np.arange(0, 10_001, 10)
    loss = np.exp(-steps / 3000)
    loss[500] = 4.0  # one spike, at one step
    rows = pd.DataFrame(
        {"method": "backprop", "seed": 0, "step": steps, "train_loss": loss, "time_s": np.nan}
    )
    runs = pd.DataFrame([{"method": "backprop", "seed": 0, "status": "reached", "diverged_at_step": np.nan}])
    svg = curve_chart(
        courses(rows, runs, "train_loss"),
        metric="train_loss",
        against=AXES[0],
        styles=method_styles(["backprop"]),
        target=None,
        key="k",
        title="T",
        description="D",
    )
    assert len(svg) < 40_000
    elements = list(ET.fromstring(svg).iter())
    used = next(one.get("href", "") for one in elements if "fill-opacity: 0.16" in one.get("style", ""))
    band = next(one.get("d", "") for one in elements if one.get("id") == used[1:])
    heights = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", band)]
    spike, start = min(heights), heights[0]
    assert spike < start  # the band's top is the spike, above the first loss of 1


def test_every_axis_is_named_and_its_ticks_are_numbers_of_its_own() -> None:
    for axis in AXES:
        assert axis.label in chart(against=axis)
    # 250 steps of 3 · 4,330,000 operations
    assert ">3G<" in chart(against=AXES[2])
    assert ">200<" in chart(against=AXES[0])


@pytest.mark.parametrize("room", [1.0, 0.3])
@pytest.mark.parametrize(("low", "high"), [(1.3e-3, 0.046), (0.9, 11.0), (2.0, 9.0), (0.5, 2.0), (3.0, 4e6)])
def test_a_logarithmic_axis_names_two_numbers_or_more_and_its_own_name_below_them(
    low: float, high: float, room: float
) -> None:
    with drawing("k", height=2) as figure:
        axes = figure.add_axes((0.1, 0.3, 0.8, 0.6))
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_yticks([])
        axes.set_xlabel("steps")
        name_ticks(axes.xaxis, low, high, room=room)
        svg = ET.fromstring(inlined(figure, "k", "T", "D"))
    *numbers, name = [one for one in svg.iter() if one.tag.endswith("text")]
    assert len(numbers) >= 2
    assert name.text == "steps"
    assert all(float(name.get("y", 0)) - float(one.get("y", 0)) > 10 for one in numbers)


def test_bands_are_drawn_as_long_as_they_do_not_hide_each_other() -> None:
    for number in (MOST_BANDS, MOST_BANDS + 1):
        methods = ("backprop", *(f"m{place}" for place in range(number - 1)))
        tables = study_tables(records.run_records(methods=methods, num_seeds=2)[: 2 * number])
        svg = chart_of(tables, methods)
        assert svg.count("fill-opacity: 0.16") == (number if number <= MOST_BANDS else 0)


def chart_of(tables: dict[str, pd.DataFrame], methods: tuple[str, ...]) -> str:
    return curve_chart(
        courses(tables["curves"], tables["runs"], "test_loss"),
        metric="test_loss",
        against=AXES[0],
        styles=method_styles(methods),
        target=None,
        key="k",
        title="T",
        description="D",
    )


def profile_of(scores: dict[str, list[float]], **changes: object) -> ET.Element:
    profiles = {
        method: performance_profile(
            [values], sorted({value for value in values if np.isfinite(value)}), higher_is_better=False
        )
        for method, values in scores.items()
    }
    arguments = {"label": "steps", "styles": method_styles([*scores]), "baseline": None, "key": "k"}
    svg = profile_chart(profiles, **(arguments | {"title": "T", "description": "D"} | changes))  # type: ignore[arg-type]
    return ET.fromstring(svg)


def lines_of(svg: ET.Element) -> list[list[tuple[float, float]]]:
    """Return the points of each coloured line of a chart."""
    paths = [one for one in svg.iter() if one.tag.endswith("path") and "var(--series" in one.get("style", "")]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", one.get("d", ""))]
        for one in paths
        if "fill: none" in one.get("style", "")
    ]


def test_a_profile_rises_with_each_run_that_arrives_and_stays_below_for_those_that_never_do() -> None:
    all_arrive, half_arrive = lines_of(
        profile_of({"a": [10.0, 20.0, 30.0, 40.0], "b": [10.0, 40.0, np.inf, np.inf]})
    )
    bottom, top = all_arrive[0][1], all_arrive[-1][1]
    assert half_arrive[0][1] == bottom
    assert half_arrive[-1][1] == pytest.approx((bottom + top) / 2, abs=0.01)
    assert len({y for _, y in all_arrive}) == 5


def test_a_profile_without_a_single_arrival_is_a_line_at_nought() -> None:
    (line,) = lines_of(profile_of({"a": [np.inf, np.inf]}))
    assert len({y for _, y in line}) == 1
    assert lines_of(profile_of({"a": [np.inf], "b": [0.0, 5.0]}))


def test_neighbouring_methods_differ_in_colour_and_in_dashes() -> None:
    styles = list(method_styles([str(place) for place in range(12)]).values())
    for one, other in itertools.pairwise(styles):
        assert one.light != other.light
        assert one.dashes != other.dashes
    assert len({(style.light, style.dashes) for style in styles}) == 12


@pytest.mark.parametrize(("ink", "place"), [("#1b1d22", 0), ("#e7e9ee", 1)])
def test_a_number_on_every_fill_has_a_contrast_of_four_and_a_half_to_one(ink: str, place: int) -> None:
    assert min(contrast(fills[place], ink) for fills in PART_PALETTE) >= 4.5


@pytest.mark.parametrize(("ground", "place"), [("#ffffff", 0), ("#15171c", 1)])
def test_every_line_has_a_contrast_of_three_to_one(ground: str, place: int) -> None:
    assert min(contrast(colours[place], ground) for colours in PALETTE) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, by WCAG 2."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_image_survives_its_way_into_the_page() -> None:
    pixels = np.arange(28 * 28, dtype=np.int64).reshape(28, 28).astype(np.uint8)
    encoded = image_uri(pixels).removeprefix("data:image/png;base64,")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))), pixels)
