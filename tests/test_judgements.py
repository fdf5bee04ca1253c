"""What is said to a claim, as tables: nothing is lost on the way to a CSV file and back."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest

from fgbench.claims import CLAIMS_FILE, claims_in, read_claims
from fgbench.errors import ResultError
from fgbench.judgements import (
    AGAINST,
    FOR,
    JUDGEMENT_COLUMNS,
    OPEN,
    PARTLY,
    UNTESTED,
    Judgement,
    Measured,
    judgement_tables,
    judgements_in,
)
from fgbench.tables import table_from_csv

JUDGEMENTS = {
    "one": Judgement(
        PARTLY,
        'the case is "あ", b',
        "steps",
        "2.0× [1.8, 2.2]",
        "a note\nin two lines",
        (
            Measured("mlp on penguins", "a against b", 0.1 + 0.2, 1e-300, math.inf, 0.002, FOR),
            Measured("cnn on kmnist", "a against b", -1.5, -2.0, -1.0, math.nan, AGAINST, "difference"),
            Measured("cpu", "", math.nan, math.nan, math.nan, math.nan, OPEN, "number"),
        ),
        limits=(1 / 3, math.inf),
        timed=True,
    ),
    "other": Judgement(UNTESTED, "everything is missing"),
}


def written_and_read(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        name: table_from_csv(name, io.StringIO(table.to_csv(index=False))) for name, table in tables.items()
    }


def test_a_judgement_is_the_same_after_its_tables_were_written_and_read() -> None:
    tables = judgement_tables(JUDGEMENTS)
    assert {name: [*table] for name, table in tables.items()} == {
        name: [*columns] for name, columns in JUDGEMENT_COLUMNS.items()
    }
    back = judgements_in(written_and_read(tables))
    assert [*back] == [*JUDGEMENTS]
    for name, judgement in JUDGEMENTS.items():
        assert str(back[name]) == str(judgement)  # as text, in which NaN is itself


def test_nothing_said_is_two_empty_tables_of_the_same_types() -> None:
    full, empty = judgement_tables(JUDGEMENTS), judgement_tables({})
    for name, table in empty.items():
        assert table.empty
        pd.testing.assert_series_equal(table.dtypes, full[name].dtypes)
    assert judgements_in(written_and_read(empty)) == {}


def test_tables_of_other_claims_than_are_listed_are_refused_with_their_names() -> None:
    ids = [entry.id for entry in read_claims(CLAIMS_FILE)]
    judged = dict.fromkeys(ids, Judgement(UNTESTED))
    assert [one.entry.id for one in claims_in(judgement_tables(judged))] == ids
    others = {name: one for name, one in judged.items() if name != ids[0]} | {"mine": Judgement(UNTESTED)}
    with pytest.raises(ResultError, match=rf"{ids[0]} and mine.*Run the study again"):
        claims_in(judgement_tables(others))
