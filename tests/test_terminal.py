"""What `fgbench cost` prints: whole words in the width there is, and the numbers' own sentences."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import records
from studies import fgbench, write_study

from fgbench.pieces import Table, numbers, words
from fgbench.tables import study_tables
from fgbench.terminal import cost_text, table_text

RUNS = records.run_records()


@cache
def whole() -> dict[str, pd.DataFrame]:
    """The tables of a whole study."""
    return study_tables([], operations=records.operations_record(RUNS), cost=records.cost_record(RUNS))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_every_line_of_a_table_fits_and_no_word_is_cut(width: int) -> None:
    text = cost_text(whole(), width=width)
    lines = text.splitlines()
    tabular = [line for line in lines if not line.endswith(".")]
    assert max(map(len, tabular)) <= width
    assert "…" not in text
    for word in ("checkpointed_backprop", "baseline", "memory", "207,840,000"):
        assert word in text


def test_it_says_what_the_report_says_of_each_model() -> None:
    text = cost_text(whole(), width=100)
    assert "a step of forward_gradient takes 2.00×" in text
    assert text.count("No GPU") == 1
    assert "A processor, 1 thread" in text
    assert text.index("cnn on digits") < text.index("mlp on penguins")


def test_a_name_is_never_read_as_markup() -> None:
    table = Table("", [*words("Method"), *numbers("Time")], [["[bold]お<script>", "1.0 ms"]])
    assert "[bold]お<script>" in table_text(table, width=80)


def test_one_case_is_measured_and_printed_without_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path / "study.yaml")
    command = "cost --config study.yaml --model logistic_regression --method forward_gradient"
    assert fgbench(command) == 0
    printed = capsys.readouterr().out
    assert "logistic_regression on iris" in printed
    assert "mlp" not in printed
    for method in ("backprop", "forward_gradient", "forward pass"):
        assert f"\n{method} " in printed
    assert "checkpointed_backprop" not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml"]
