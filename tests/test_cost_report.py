"""The report's section on costs: complete, true to its tables, marked with the machine, and whole where data lack."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

import pandas as pd
import pytest
import records
from markupsafe import escape
from support import part_of_page
from test_report import Outline, report, section, text_of

from fgbench.cost_findings import measured_methods, measured_on
from fgbench.cost_report import Cost, cost_section
from fgbench.svg import method_styles
from fgbench.tables import study_tables, table_from_csv

RUNS = records.run_records(num_seeds=2)[4:8]
"""One experiment's, the multilayer network's."""

HOSTILE = '<script>alert("1")</script>: a, b'
MACHINE = "A processor, 1 thread, torch 2.13.0; never part of the regeneration check"


def tables(runs: list[records.Record] = RUNS, **cost: Any) -> dict[str, pd.DataFrame]:
    """Return the tables of a study whose costs are all known; without noise every number is exact."""
    return study_tables(
        runs,
        operations=records.operations_record(runs),
        cost=records.cost_record(runs, **({"noise": 0.0, "rounds": 8} | cost)),
        scaling=records.scaling_record(noise=0.0, rounds=2, cuda=cost.get("cuda", False)),
    )


def shown(found: dict[str, pd.DataFrame]) -> Cost:
    return cost_section(found, method_styles(measured_methods(found)))


def page(found: dict[str, pd.DataFrame]) -> str:
    """Return the section alone, as the page places it."""
    return part_of_page("cost.html.j2", cost=shown(found))


def the_section(markup: str) -> str:
    found = markup[markup.index('<section id="cost"') :]
    return found[: found.index("</section>")]


@pytest.fixture(scope="module")
def markup() -> str:
    return report(RUNS, tables=tables())


def test_a_methods_row_holds_time_ratios_operations_memory_and_its_target() -> None:
    (one,) = shown(tables()).experiments
    rows = {row[0]: list(row[1:]) for row in one.table.rows}
    assert [column.title for column in one.table.columns][3] == "× backprop"
    assert rows["backprop"] == [
        "1.0 ms",
        "2.0× [2.0, 2.0]",
        "1×",
        "baseline",
        "393,000",
        "3.0×",
        "4.2 MB",
        "2/2",
    ]
    assert rows["forward_gradient"][:4] == ["2.0 ms", "4.0× [4.0, 4.0]", "2.0× [2.0, 2.0]", "slower"]
    assert rows["forward_gradient_16"][4:] == ["6,288,000", "48×", "2.1 MB", "not trained"]
    assert rows["forward pass"] == ["500 µs", "1×", "–", "–", "131,000", "1.0×", "1.1 MB", "not trained"]


def test_a_figure_of_each_kind_is_there_with_its_alternative_and_its_table(markup: str) -> None:
    cost = the_section(markup)
    titles = re.findall(r"<title id=[^>]*>([^<]*)</title><desc id=[^>]*>([^<]*)</desc>", cost)
    said = dict(titles)
    assert len(titles) == len(said) == 2 + 2 + 8 + 1
    ratios = said["Time of a step by that of backprop, mlp on penguins"]
    assert ratios == (
        "A step's time as a multiple of backprop's: forward_gradient 2.0× [2.0, 2.0] (slower) and "
        "checkpointed_backprop 1.4× [1.4, 1.4] (slower)."
    )
    far = said["Time of a step by that of backprop, mlp on penguins: far longer steps"]
    assert "forward_gradient_4 7.4× [7.4, 7.4] (slower) and forward_gradient_16 29× [29, 29] (slower)" in far
    assert "15 % drawing tangents" in said["Where the time of a step goes, mlp on penguins"]
    assert "grows as the depth to the power of" in said["Depth: peak memory"]
    assert re.search(r"forward_gradient \d+ .*ms, reached 2/2", said["Time to the target, mlp on penguins"])
    assert cost.count("<summary>The same as a table</summary>") == cost.count("<figure ")


def test_every_place_that_shows_times_names_the_machine(markup: str) -> None:
    found = re.findall(r"<(caption|figcaption)>(.*?)</\1>", the_section(markup), flags=re.DOTALL)
    captions = [re.sub(r"^Figure \d+\. ", "", text_of(text)) for _, text in found]
    counted = ("What was not measured", "The machine while")
    assert len(captions) > 15
    assert all(MACHINE in text or text.startswith(counted) for text in captions)
    assert MACHINE in section(markup, "summary")
    assert MACHINE in section(markup, "comparisons")
    curves = re.findall(r'data-axis="time_s">([^<]*)</span>', markup)
    assert curves
    assert all(MACHINE in text for text in curves)


def test_an_absent_gpu_is_said_exactly_once(markup: str) -> None:
    assert text_of(markup).lower().count("no gpu") == 1
    assert "no gpu" not in text_of(page(tables(cuda=True))).lower()


def test_a_noisy_machine_stands_in_a_visible_note_and_a_quiet_one_in_none(markup: str) -> None:
    noisy = page(tables(load=records.NOISY))
    notes = [values for tag, values in Outline(the_section(noisy)).tags if values.get("role") == "note"]
    assert len(notes) == 1
    text = section(noisy, "cost")
    assert "The machine was noisy while this was measured." in text
    for condition in ("0.9 cores busy", "6 % of the time (steal)", "200 times a second", "25 % of the time"):
        assert condition in text
    assert 'role="note"' not in the_section(markup)


def test_the_claims_of_a_speed_up_are_led_to(markup: str) -> None:
    assert 'href="#claims"' in the_section(markup)
    assert 'href="#claims"' not in the_section(page(study_tables(RUNS)))


def test_engines_stand_with_what_they_gain_and_what_was_skipped_with_its_reason() -> None:
    found = shown(tables(records.run_records(num_seeds=2)[:8]))
    assert found.engines is not None
    rows = {tuple(row[:3]): list(row[3:]) for row in found.engines.rows}
    backprop = rows["mlp on penguins", "backprop", "compiled torch.func"]
    assert backprop == ["750 µs", "0.75× [0.75, 0.75]", "faster", "–", "–"]
    forward = rows["mlp on penguins", "forward_gradient", "torch.func"]
    assert forward == ["3.0 ms", "1.5× [1.5, 1.5]", "slower", "2.0× [2.0, 2.0]", "slower"]
    assert ("mlp on penguins", "checkpointed_backprop", "eager") not in rows
    assert found.unmeasured is not None
    assert [list(row) for row in found.unmeasured.rows] == [
        ["backprop: peak memory", "ladder, depth 160", "there was not enough memory"],
        [
            "backprop and forward_gradient, compiled: time of a step",
            "logistic_regression on penguins and mlp on penguins",
            records.DROPPED,
        ],
    ]


def test_exponents_of_the_ladder_stand_by_method() -> None:
    (ladder,) = shown(tables()).ladders
    assert [column.title for column in ladder.exponents.columns] == [
        "Growth",
        "backprop",
        "forward_gradient",
        "checkpointed_backprop",
    ]
    rows = {row[0]: list(row[1:]) for row in ladder.exponents.rows}
    assert [text[:4] for text in rows["Peak memory against depth"]] == ["0.90", "0.00", "0.90"]
    assert [text[:4] for text in rows["Time of a step against number of tangents"]] == ["–", "1.00", "–"]
    depth = ladder.charts[0]
    assert depth.caption.startswith("Depth (width 64, batch size 64). One more layer adds about ")
    assert " The time of a step grows as the depth to the power of " in depth.caption
    assert depth.table is not None
    assert list(depth.table.rows[0][:3]) == ["5", "500 µs", "43 MB"]
    assert list(ladder.charts[3].legend) == ["forward_gradient"]


def test_a_size_without_memory_to_show_is_left_out_of_the_logarithms() -> None:
    scaling = records.scaling_record(noise=0.0)
    for point in scaling["ladders"][0]["points"]:
        point["peak_memory_bytes"] = None if point["axis"] == "width" else point["peak_memory_bytes"]
    found = study_tables(RUNS, scaling=scaling)
    (ladder,) = cost_section(
        found, method_styles(["backprop", "forward_gradient", "checkpointed_backprop"])
    ).ladders
    assert [len(chart.svgs) for chart in ladder.charts] == [2, 1, 2, 2]


def test_the_machine_stands_with_all_that_may_disturb_it() -> None:
    machines = shown(tables(load=records.NOISY)).machines
    assert machines is not None
    rows = {row[0]: list(row[1:]) for row in machines.rows}
    assert rows["penguins/mlp"] == [
        "CPU; A processor, AVX512, 1 thread, torch 2.13.0",
        "0.1",
        "20.0 s",
        "0.90",
        "6 %",
        "200.0",
        "25 %",
        "yes",
    ]
    assert rows["ladder"][-1] == "no"


def test_devices_are_told_apart(markup: str) -> None:
    both = page(tables(cuda=True))
    for device in ("CPU", "CUDA"):
        assert f"<h4>mlp on penguins, {device}</h4>" in both
        assert f"mlp on penguins, {device}: a step of forward_gradient takes" in section(both, "cost")
    assert "<h4>mlp on penguins</h4>" in markup


def test_a_target_that_runs_missed_is_said_with_how_many_reached_it() -> None:
    runs = records.run_records()
    cost = records.cost_record(runs, rounds=2)
    texts = [chart.caption for chart in shown(study_tables(runs, cost=cost)).targets]
    assert "ms, reached 4/6" in texts[2]
    for record in runs:
        if record["model"] == "mlp" and record["method"] == "backprop":
            record["runs"] = [records.missed(run) for run in record["runs"]]
    texts = [chart.caption for chart in shown(study_tables(runs, cost=cost)).targets]
    assert "backprop median not reached, reached 0/6; forward_gradient" in texts[1]


STUDIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "operations alone": {"operations": True},
    "a ladder alone": {"scaling": True},
    "one round": {"cost": {"rounds": 1}},
    "no forward pass and no forward gradient": {"cost": {"without": ("forward_gradient", "forward pass")}},
    "no backprop measured": {"cost": {"without": ("backprop",)}},
    "no backprop": {"methods": ("forward_gradient",), "cost": {}},
    "no forward gradient": {"methods": ("backprop",), "cost": {}},
    "two devices": {"cost": {"cuda": True}, "scaling": True},
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_lacks_something_makes_a_whole_section(name: str) -> None:
    study = STUDIES[name]
    runs = [record for record in RUNS if record["method"] in study.get("methods", records.METHODS)]
    found = study_tables(
        runs,
        operations=records.operations_record(runs) if "operations" in study else None,
        cost=records.cost_record(runs, **({"rounds": 3} | study["cost"])) if "cost" in study else None,
        scaling=records.scaling_record(rounds=2) if "scaling" in study else None,
    )
    again = {
        name: table_from_csv(name, io.StringIO(table.to_csv(index=False))) for name, table in found.items()
    }
    markup = page(again)
    text = section(markup, "cost")
    assert markup == page(found)
    assert Outline(markup).open == []
    assert len(Outline(markup).ids) == len(set(Outline(markup).ids))
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(Outline(markup).headings))
    assert not re.search(r"\b(nan|none|inf)\b", text.lower())
    assert ("No step was measured." in text) == (measured_on(found) == "No step was measured.")
    with_ratios = {
        "one round",
        "no forward pass and no forward gradient",
        "no forward gradient",
        "two devices",
    }
    assert ("× backprop" in text) == (name in with_ratios)


def test_hostile_method_names_are_text() -> None:
    names = ("backprop", HOSTILE, "お" * 200, "$\\frac{a}{b}$ & 'quoted'")
    runs = [record for record in records.run_records(methods=names, num_seeds=2) if record["model"] == "mlp"]
    cost = the_section(page(tables(runs)))
    assert not any(tag == "script" for tag, _ in Outline(cost).tags)
    assert all(str(escape(name)) in cost for name in names)


def test_a_study_of_many_rounds_stays_a_light_page() -> None:
    runs = records.run_records(num_seeds=2)
    whole = report(runs, tables=tables(runs, rounds=40, noise=0.02))
    assert len(whole.encode()) < 2_000_000
