"""Why estimates train as they do: the section's sentences, charts and tables against records of known content."""

from __future__ import annotations

import copy
import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import records
from probe_records import DRAWS, probe_records
from support import part_of_page

from fgbench import theory
from fgbench.findings import MOST_TOLD
from fgbench.probe_figures import MOST_TOGETHER, Trace, trace_chart
from fgbench.probe_report import Probes, probes_section
from fgbench.probe_tables import probe_tables
from fgbench.svg import Style, method_styles
from fgbench.tables import study_tables

MANY = ("backprop", *(f"m{place}" for place in range(8)))
HOSTILE = "<script>alert('$x$')</script> お"


def runs_of(methods: tuple[str, ...] = records.METHODS) -> list[records.Record]:
    """Return runs on the multilayer network alone, of 131 parameters: charts take their time."""
    runs = records.run_records(methods=methods, num_seeds=2)
    return [record for record in runs if record["model"] == "mlp"]


def section(methods: tuple[str, ...] = records.METHODS, probed: Any = None, **changes: Any) -> Probes:
    """Return the section of a study of these methods; `changes` are made to the settings of all but backprop."""
    runs = runs_of(methods)
    for record in runs:
        if record["method"] != "backprop":
            record["settings"] = record["settings"] | changes
    tables = study_tables(runs) | probe_tables(probe_records(runs) if probed is None else probed)
    found = probes_section(tables, method_styles(list(methods)))
    assert found is not None
    return found


def page(probes: Probes) -> str:
    return part_of_page("probes.html.j2", probes=probes)


def test_a_study_without_probes_has_no_such_section() -> None:
    runs = runs_of()
    tables = study_tables(runs) | probe_tables()
    assert probes_section(tables, method_styles(records.METHODS)) is None


def test_what_was_asked_is_said_with_its_seed_and_its_number_of_estimates() -> None:
    asked = section().asked
    assert "the run of seed 0" in asked
    assert f"{DRAWS} estimates g" in asked
    assert "to the last bit" in asked


def test_every_experiment_is_told_with_the_true_name_of_its_data() -> None:
    runs = records.run_records(num_seeds=2)
    tables = study_tables(runs) | probe_tables(probe_records(runs))
    found = probes_section(tables, method_styles(records.METHODS))
    assert found is not None
    told = found.experiments
    assert [one.title for one in told] == [
        "logistic_regression on penguins",
        "mlp on penguins",
        "cnn on digits (stand-in for kmnist_t10k)",
    ]
    for one in told:
        assert one.traces.caption.startswith(one.title)
        assert one.title in one.traces.svgs[0]


def test_a_methods_cosine_stands_beside_what_theory_says() -> None:
    said = " ".join(section(tangents="normal", num_tangents=1).experiments[0].sentences)
    cosine = theory.forward_cosine(131)
    assert f"{cosine:.4f}" == "0.0698"
    assert "At step 200, the last looked at, the estimates of forward_gradient have a mean cosine of" in said
    assert (
        "0.070 ± 0.011 to the gradient (theory for one normal tangent in d = 131: 0.0698; at step 0:" in said
    )
    # the root mean square of a half-normal number by √131
    assert "They are 11.4 times as long as it (root mean square; theory: 11.5)" in said
    assert "g·∇f/‖∇f‖² averages 1.00 ± 0.28 (theory: 1.00)" in said
    assert "a standard deviation of 1.00 (theory: 1.00)" in said


@pytest.mark.parametrize(
    ("tangents", "num_tangents", "word"),
    [
        ("rademacher", 1, ", which rademacher ones come near: "),
        ("uniform", 4, "theory for 4 normal tangents in d = 131, which uniform ones come near: "),
        ("sphere", 1, "theory for one normal tangent in d = 131: "),
        ("sphere", 2, ", which sphere ones come near: "),
    ],
)
def test_theory_for_other_tangents_is_told_as_near_unless_it_is_exact(
    tangents: str, num_tangents: int, word: str
) -> None:
    said = section(tangents=tangents, num_tangents=num_tangents).experiments[0].sentences[0]
    assert word in said
    assert f"{theory.forward_cosine(131, num_tangents):.3f}"[:5] in said


def test_of_an_estimator_without_a_law_nothing_is_predicted() -> None:
    said = (
        section(estimator={"name": "feedback_alignment", "feedback_momentum": 0.9}).experiments[0].sentences
    )
    assert "theory for" not in said[0]
    assert "(1 of an unbiased one)" in said[0]
    projected = section(
        estimator={"name": "orthonormal_projection"}, tangents="normal", num_tangents=5
    ).experiments[0]
    assert (
        f"theory for 5 normal tangents in d = 131: {theory.projection_cosine(131, 5):.3f}"
        in projected.sentences[0]
    )
    assert f"(theory: {5 / 131:.4f})" in projected.sentences[0]


def test_the_noise_of_the_batch_stands_beside_that_of_the_tangents() -> None:
    said = section().experiments[0].sentences[-1]
    assert said == (
        "The noise of the batch beside it: with backprop, the cosine of the mini-batch's gradient to the whole "
        "training part's is 0.900 at step 0 and 0.400 at step 20."
    )


def test_of_many_methods_the_best_and_the_worst_are_named() -> None:
    probed = probe_records(runs_of(MANY))
    for record in probed:
        if record["method"] == "m3":
            record["rows"][-1]["quantities"]["cosine"] = record["rows"][-1]["quantities"]["cosine"] | {
                "mean": 0.875
            }
    said = section(MANY, probed).experiments[0].sentences
    assert len(MANY) > MOST_TOLD
    assert said[0].startswith(
        "Mean cosine to the gradient at the last step looked at: the best are m3 0.875,"
    )
    assert len(said) == 3


@pytest.mark.parametrize("methods", [records.METHODS, MANY, ("backprop",), ("only", "other")])
def test_any_number_of_methods_makes_well_formed_charts_with_all_their_numbers_as_a_table(
    methods: tuple[str, ...],
) -> None:
    for one in section(methods).experiments:
        assert len(one.traces.svgs) == 3
        for svg in one.traces.svgs:
            assert all(method in svg for method in (methods if len(methods) > MOST_TOGETHER else ()))
            ET.fromstring(svg)
        table = one.traces.table
        assert table is not None
        assert len(table.rows) == 2 * len(methods)
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert bool(one.traces.legend) == (len(methods) <= MOST_TOGETHER)
        drawn = methods[1:]  # the first has exact gradients
        assert (one.spreads is None) == (not drawn)
        if one.spreads:
            assert all(method in one.spreads.svgs[0] for method in drawn)


def test_the_page_is_repeatable_escapes_names_and_shares_no_id() -> None:
    methods = ("backprop", HOSTILE)
    markup = page(section(methods))
    assert markup == page(section(methods))
    assert "<script" not in markup
    ids = re.findall(r'\sid="([^"]*)"', markup)
    assert len(ids) == len(set(ids))
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]*>", "", markup).lower())


def trace(method: str = "a", *, mean: float = 0.5, low: float = 0.1, high: float = 0.9) -> Trace:
    steps = np.array([0.0, 10.0, 100.0])
    ends = (np.full(3, value) for value in (low, mean, high, mean))
    return Trace(method, steps, *ends, expected=None)


STYLES: dict[str, Style] = method_styles(["a", "b"])


def drawn(*traces: Trace, quantity: str = "cosine") -> str:
    return trace_chart(
        traces, quantity=quantity, styles=STYLES, reference=1.0, key="k", title="T", description="D"
    )


def test_small_and_large_values_share_a_logarithmic_axis_that_goes_through_nought() -> None:
    texts = text_of(drawn(trace(mean=1.0, low=1.0, high=1.0), trace("b", mean=0.02, low=-0.05, high=0.08)))
    assert {"0", "0.01", "0.1", "1", "−0.01"} <= texts
    assert "−0.1" not in texts
    assert {"0.2", "0.8"} <= text_of(drawn(trace()))


def text_of(svg: str) -> set[str]:
    return {str(one.text) for one in ET.fromstring(svg).iter() if one.tag.endswith("text")}


@pytest.mark.parametrize("quantity", ["cosine", "norm_ratio", "projection"])
@pytest.mark.parametrize(
    "values", [(0.0, 0.0, 0.0), (1e-9, -1e-9, 1.0), (5e4, 1e-3, 1e6), (-0.3, -0.5, -0.1)]
)
def test_no_values_break_a_chart(quantity: str, values: tuple[float, float, float]) -> None:
    mean, low, high = values
    ET.fromstring(drawn(trace(mean=mean, low=low, high=high), quantity=quantity))


def test_a_single_point_before_training_makes_a_section() -> None:
    probed = copy.deepcopy(probe_records(runs_of()))
    for record in probed:
        record["rows"] = record["rows"][:1]
    told = section(probed=probed)
    assert "At step 0, the last looked at" in told.experiments[0].sentences[0]
    assert "<figure" in page(told)


def test_two_standard_errors_stand_beside_every_mean_of_many_estimates() -> None:
    table = section().experiments[0].traces.table
    assert table is not None
    cosine = next(row for row in table.rows if row[0] == "forward_gradient")[3]
    error = 2 * math.sqrt(1 - 2 / math.pi) / math.sqrt(131) / math.sqrt(DRAWS)
    assert cosine == f"{math.sqrt(2 / math.pi / 131):.3f} ± {error:.3f}"
    assert next(row for row in table.rows if row[0] == "backprop")[3] == "1.00"
