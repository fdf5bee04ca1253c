"""Whether a study reproduces its references, in words: every count told, what differs named to the last digit."""

from __future__ import annotations

from typing import Any

import pytest
import records

from fgbench.verification import verification
from fgbench.verification_findings import difference_text, verdict_lines, verdict_text

RUNS = records.run_records()


def miscounted(verified: Any) -> Any:
    """Return a verdict as it is where two counts of a thousand are others, one of them beyond what floats can tell."""
    pairs = {"backprop": (2**53 + 1, 2**53), "forward pass": (7, 131)}
    differing = [
        {"cell": f"penguins/mlp/{method}", "reference": "references/other.json", "here": here, "there": there}
        for method, (here, there) in pairs.items()
    ]
    operations = {"compared": 1017, "identical": 1015, "differing": differing}
    operations |= {"verdict": "differs", "not_comparable": ["penguins/mlp/mine"]}
    return verified | {"verdict": "differs", "operations": operations}


def uncounted(verified: Any, cells: tuple[str, ...] = ("penguins/mlp/mine", "iris/mlp/mine")) -> Any:
    """Return a verdict as it is where no reference holds a count."""
    operations = {"verdict": "not comparable", "compared": 0, "identical": 0, "differing": []}
    return verified | {"operations": operations | {"not_comparable": [*cells]}}


@pytest.mark.parametrize(
    ("verified", "text"),
    [
        (
            records.verified(RUNS),
            "Reproduces the reference references/study.json: 36 of 36 runs identical. Counted operations: 18 of 18 "
            "identical.",
        ),
        (
            records.verified(RUNS, against=RUNS[2:]),
            "Reproduces the reference references/study.json: 30 of 30 runs identical; 6 more cannot be compared. "
            "Counted operations: 17 of 17 identical; 1 more cannot be compared.",
        ),
        (
            records.verified(records.nudged(RUNS, 1e-7), against=RUNS),
            "Agrees with the reference references/study.json within tolerance: 35 of 36 runs identical and 1 "
            "within tolerance. Counted operations: 18 of 18 identical.",
        ),
        (
            records.verified(records.nudged(RUNS, 1e-3, num_runs=2), against=RUNS),
            "Does not reproduce the reference references/study.json: 34 of 36 runs identical and 2 different. "
            "Counted operations: 18 of 18 identical.",
        ),
        (
            records.verified(RUNS[:2], against=RUNS[2:]),
            "Not verified: none of 6 runs can be compared with the reference references/study.json. Counted "
            "operations: 4 of 4 identical; 1 more cannot be compared.",
        ),
        (
            verification(RUNS, records.operations_record(RUNS)["cells"], {}),
            "Not verified: the config names no reference to compare with.",
        ),
        (
            miscounted(records.verified(RUNS)),
            "Does not reproduce the references references/study.json and references/other.json: 36 of 36 runs "
            "identical. Counted operations: 1,015 of 1,017 identical and 2 different; 1 more cannot be compared.",
        ),
        (
            miscounted(records.verified(RUNS[:2], against=RUNS[2:])),
            "Does not reproduce the reference references/other.json: none of 6 runs can be compared. Counted "
            "operations: 1,015 of 1,017 identical and 2 different; 1 more cannot be compared.",
        ),
        (
            uncounted(records.verified(RUNS)),
            "Reproduces the reference references/study.json: 36 of 36 runs identical. Counted operations: none of 2 "
            "can be compared.",
        ),
        (
            uncounted(records.verified(RUNS), cells=()),
            "Reproduces the reference references/study.json: 36 of 36 runs identical.",
        ),
    ],
)
def test_the_verdict_is_said_with_its_counts(verified: Any, text: str) -> None:
    assert verdict_text(verified) == text
    assert verdict_lines(verified)[0] == text


def test_the_verdicts_lines_name_what_differs_and_what_cannot_be_compared() -> None:
    _, why, first, *rest = verdict_lines(records.verified(records.nudged(RUNS, 1e-3), against=RUNS))
    assert why.startswith("  Made with its reference's software and arithmetic: ")
    assert first.startswith(
        "  penguins/logistic_regression/backprop seed 0: differs; curves part at step 10;"
    )
    assert "train_loss 0.79510045 instead of 0.794306144 at step 10 (allowed: 2.1e-06 off)" in first
    assert rest == []
    _, missing, not_counted = verdict_lines(records.verified(RUNS, against=RUNS[2:]))
    assert missing == (
        "  penguins/logistic_regression/backprop: not comparable: references/study.json does not hold it"
    )
    assert not_counted == (
        "  counted operations that no reference holds: penguins/logistic_regression/backprop"
    )


def test_the_verdicts_lines_give_every_count_that_differs_to_the_last_digit() -> None:
    _, why, *lines = verdict_lines(miscounted(records.verified(RUNS)))
    assert why.startswith("  Made with its reference's software and arithmetic: ")
    assert lines == [
        "  penguins/mlp/backprop: 9,007,199,254,740,993 operations a step, 9,007,199,254,740,992 in "
        "references/other.json",
        "  penguins/mlp/forward pass: 7 operations a step, 131 in references/other.json",
        "  counted operations that no reference holds: penguins/mlp/mine",
    ]
    assert len(verdict_lines(verification(RUNS, records.operations_record(RUNS)["cells"], {}))) == 1


def test_a_run_that_parts_where_the_reference_keeps_nothing_is_told_by_its_step() -> None:
    run = {"verdict": "within tolerance", "parts_at_step": 30, "quantities": []}
    assert difference_text(run) == "within tolerance; curves part at step 30."
