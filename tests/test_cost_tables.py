"""Tables of what a step costs, made from records whose times, memory and operations are known."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import records

from fgbench.cost_tables import FORWARD_PASS, NOISY_ABOVE, cost_tables
from fgbench.tables import study_tables

RUNS = records.run_records(num_seeds=2)[:4]
"""One experiment's: logistic regression on penguins, two methods."""

COST = records.cost_record(RUNS)


@cache
def whole() -> dict[str, pd.DataFrame]:
    """The tables of a whole study."""
    return cost_tables(records.operations_record(RUNS), COST, records.scaling_record())


def where(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows that hold these values."""
    chosen = np.logical_and.reduce([table[column] == value for column, value in values.items()])
    return table[chosen].reset_index(drop=True)


def ratio(method: str, against: str, engine: str = "eager", against_engine: str = "", **changes: Any) -> Any:
    """The row of one comparison, of this cost record or a changed one."""
    tables = cost_tables(cost=records.cost_record(RUNS, **changes)) if changes else whole()
    sides = {"engine": engine, "against_engine": against_engine or engine}
    [row] = where(tables["step_ratios"], method=method, against=against, **sides).to_dict("records")
    return row


def test_every_block_has_its_row() -> None:
    blocks = whole()["blocks"]
    [experiment] = COST["experiments"]
    assert len(blocks) == sum(2 * len(timed["step_time_s"]) for timed in experiment["times"])
    timed = where(blocks, method="backprop", engine="eager", part="step", twin=True, round=3)
    [expected] = [
        one["step_time_s"][3]
        for one in experiment["times"]
        if one["twin"] and (one["method"], one["engine"]) == ("backprop", "eager")
    ]
    assert timed["step_time_s"].to_list() == expected


def test_a_step_time_is_the_median_of_rounds_each_the_mean_of_its_two_blocks() -> None:
    cost = copy.deepcopy(COST)
    for timed in cost["experiments"][0]["times"]:
        timed["step_time_s"] = [[1.0, 3.0], [9.0, 11.0], [4.0, 4.0]]
    row = cost_tables(cost=cost)["step_times"].iloc[0]
    assert (row["rounds"], row["step_time_s"]) == (3, 4.0)
    assert row["step_time_low"] <= 4.0 <= row["step_time_high"]


def test_known_step_times_are_recovered_part_by_part() -> None:
    times = whole()["step_times"].set_index(["method", "engine", "part"])
    expected = {"step": 2.0e-3, "draw": 0.3e-3, "estimate": 1.5e-3, "product": 0.15e-3, "update": 0.2e-3}
    for part, seconds in expected.items():
        row = times.loc[("forward_gradient", "eager", part)]
        assert row["step_time_s"] == pytest.approx(seconds, rel=0.01)
        assert row["step_time_low"] < row["step_time_s"] < row["step_time_high"]
    assert ("backprop", "eager", "draw") not in times.index


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (("forward_gradient", "backprop"), 2.0),
        (("forward_gradient", "backprop", "torch.func"), 2.0),
        (("forward_gradient", FORWARD_PASS), 4.0),
        (("backprop", FORWARD_PASS), 2.0),
        (("backprop", FORWARD_PASS, "torch.func", "eager"), 3.0),
        (("backprop", "backprop", "compiled torch.func", "eager"), 0.75),
        (("forward_gradient_16", "backprop"), 29.0),
        (("checkpointed_backprop", "backprop"), 1.4),
    ],
)
def test_known_ratios_are_recovered(sides: tuple[str, ...], expected: float) -> None:
    row = ratio(*sides)
    assert row["ratio"] == pytest.approx(expected, rel=0.01)
    assert row["low"] < row["ratio"] < row["high"]
    assert row["verdict"] == ("worse" if expected > 1 else "better")


def test_steps_are_compared_with_a_forward_pass_the_baseline_and_their_own_eager_engine() -> None:
    table = where(whole()["step_ratios"], method="forward_gradient")
    found = sorted(table[["engine", "against", "against_engine"]].itertuples(index=False, name=None))
    engines = ["compiled torch.func", "eager", "torch.func"]
    assert found == sorted(
        [(engine, FORWARD_PASS, "eager") for engine in engines]
        + [(engine, "backprop", engine) for engine in engines]
        + [(engine, "forward_gradient", "eager") for engine in engines]
        + [(engine, "forward_gradient", engine) for engine in engines if engine != "eager"]
    )
    bare = where(whole()["step_ratios"], method=FORWARD_PASS)
    assert bare["against"].to_list() == [FORWARD_PASS]


def test_every_step_is_compared_with_its_own_copy_which_has_no_floor() -> None:
    itself = whole()["step_ratios"].query("method == against and engine == against_engine")
    assert len(itself) == 6 + 2 * 2  # eager of all, two more engines of two
    assert itself["floor"].isna().all()
    assert itself["ratio"].to_list() == pytest.approx([1.0] * 10, abs=0.01)


def test_the_floor_is_the_furthest_end_from_1_of_both_steps_against_their_copies() -> None:
    table = where(whole()["step_ratios"], engine="eager", against_engine="eager").set_index(
        ["method", "against"]
    )
    copies = [
        table.loc[(method, method), end]
        for method in ("forward_gradient", "backprop")
        for end in ("low", "high")
    ]
    furthest = max(math.exp(abs(math.log(end))) for end in copies)
    assert table.loc[("forward_gradient", "backprop"), "floor"] == pytest.approx(furthest)
    assert furthest > 1


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0.99e-3, "better"), (1e-3, "not resolved"), (1.01e-3, "worse")]
)
def test_a_difference_without_noise_is_claimed_however_small(seconds: float, verdict: str) -> None:
    row = ratio("forward_gradient", "backprop", noise=0.0, times={"forward_gradient": seconds})
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx((seconds / 1e-3,) * 3)
    assert (row["floor"], row["verdict"]) == (1.0, verdict)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0.9e-3, "better"), (0.96e-3, "not resolved"), (1.04e-3, "not resolved"), (1.1e-3, "worse")],
)
@pytest.mark.parametrize("slower", ["forward_gradient", "backprop"])
@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_a_difference_below_the_noise_floor_is_not_resolved(
    seconds: float, verdict: str, slower: str, factor: float
) -> None:
    cost = records.cost_record(RUNS, noise=0.0, times={"forward_gradient": seconds})
    for timed in cost["experiments"][0]["times"]:
        if timed["twin"] and (timed["method"], timed["engine"]) == (slower, "eager"):
            timed["step_time_s"] = (np.array(timed["step_time_s"]) * factor).tolist()
    table = cost_tables(cost=cost)["step_ratios"]
    [row] = where(table, method="forward_gradient", against="backprop", engine="eager").to_dict("records")
    assert row["floor"] == pytest.approx(1.05)
    assert row["verdict"] == verdict


def test_nothing_is_claimed_of_a_step_without_a_copy() -> None:
    cost = copy.deepcopy(COST)
    experiment = cost["experiments"][0]
    experiment["times"] = [timed for timed in experiment["times"] if not timed["twin"]]
    table = cost_tables(cost=cost)["step_ratios"]
    assert len(table)
    assert table["floor"].isna().all()
    assert set(table["verdict"]) == {"not resolved"}


def test_one_round_gives_ratios_without_intervals_and_claims_nothing() -> None:
    tables = cost_tables(cost=records.cost_record(RUNS, rounds=1))
    assert ratio("forward_gradient", "backprop", rounds=1)["ratio"] == pytest.approx(2.0, rel=0.1)
    for table, columns in (("step_ratios", ["low", "high"]), ("step_times", ["step_time_low"])):
        assert tables[table][columns].isna().all(axis=None)
    assert set(tables["step_ratios"]["verdict"]) == {"not resolved"}


def test_five_rounds_resolve_nothing_however_clear_and_six_do() -> None:
    assert ratio("forward_gradient", "backprop", rounds=5)["verdict"] == "not resolved"
    assert ratio("forward_gradient", "backprop", rounds=6)["verdict"] == "worse"


def test_a_drift_of_the_machine_moves_times_and_no_ratio() -> None:
    cost = copy.deepcopy(COST)
    drift = np.linspace(1, 2, 20)[:, None]
    for timed in cost["experiments"][0]["times"]:
        timed["step_time_s"] = (np.array(timed["step_time_s"]) * drift).tolist()
    tables = cost_tables(cost=cost)
    assert (tables["step_times"]["step_time_s"] > 1.3 * whole()["step_times"]["step_time_s"]).all()
    pd.testing.assert_frame_equal(tables["step_ratios"], whole()["step_ratios"])


def test_without_exact_gradients_there_is_a_forward_pass_to_compare_with_and_no_baseline() -> None:
    table = cost_tables(cost=records.cost_record(RUNS, without=("backprop",)))["step_ratios"]
    others = table[table["against"] != table["method"]]
    assert set(others["against"]) == {FORWARD_PASS}
    assert "forward_gradient" in set(others["method"])


def test_without_a_forward_pass_operations_are_counted_and_not_set_in_proportion() -> None:
    counted = records.operations_record(RUNS)
    counted["cells"] = [cell for cell in counted["cells"] if cell["method"] != FORWARD_PASS]
    table = cost_tables(counted)["operations"]
    assert (table["operations"] > 0).all()
    assert table["forward_passes"].isna().all()


def test_operations_are_told_as_multiples_of_their_experiments_forward_pass() -> None:
    table = study_tables([], operations=records.operations_record(records.run_records()))["operations"]
    assert len(table) == 3 * 6
    by_method = table.groupby("method")["forward_passes"].unique()
    assert {method: list(values) for method, values in by_method.items()} == {
        "backprop": [3],
        "checkpointed_backprop": [4],
        FORWARD_PASS: [1],
        "forward_gradient": [3],
        "forward_gradient_4": [12],
        "forward_gradient_16": [48],
    }


def test_memory_is_that_of_the_record() -> None:
    memory = whole()["step_memory"].set_index("method")["peak_memory_bytes"]
    assert memory["backprop"] == 4 * memory[FORWARD_PASS] == 4 * (1_000_000 + 400 * 15)


def test_a_gpu_stands_beside_the_processor_and_changes_nothing_of_its_rows() -> None:
    tables = cost_tables(cost=records.cost_record(RUNS, cuda=True), scaling=records.scaling_record(cuda=True))
    for name in ("blocks", "step_times", "step_ratios", "step_memory", "ladder", "exponents", "measurements"):
        assert set(tables[name]["device"]) == {"cpu", "cuda"}
    pd.testing.assert_frame_equal(where(tables["step_ratios"], device="cpu"), whole()["step_ratios"])
    times = where(tables["step_times"], method="backprop", engine="eager", part="step").set_index("device")
    assert times.loc["cuda", "step_time_s"] == pytest.approx(0.1e-3, rel=0.01)
    assert "no GPU" not in set(tables["unmeasured"]["reason"])


def test_what_was_not_measured_says_why_and_a_missing_gpu_says_it_once() -> None:
    table = whole()["unmeasured"]
    missing = where(table, device="cuda")
    assert missing["reason"].to_list() == ["no GPU"]
    assert set(missing.drop(columns=["device", "reason"]).to_numpy().ravel()) == {""}
    skipped = where(table, method="forward_gradient").iloc[0]
    assert (skipped["engine"], skipped["quantity"]) == ("compiled", "step_time_s")
    [rung] = where(table, quantity="peak_memory_bytes").to_dict("records")
    assert (rung["model"], rung["method"], rung["at"]) == ("", "backprop", "depth 160")


def test_exponents_are_the_laws_that_the_ladder_follows() -> None:
    table = whole()["exponents"].set_index(["axis", "method", "quantity"])
    for axis, (time, memory) in records.EXPONENTS.items():
        for method in ("backprop", "forward_gradient"):
            if (axis, method, "step_time_s") not in table.index:
                assert (axis, method) == ("num_tangents", "backprop")
                continue
            timed, remembered = (
                table.loc[(axis, method, name)] for name in ("step_time_s", "peak_memory_bytes")
            )
            assert timed["exponent"] == pytest.approx(time, abs=0.02)
            assert timed["low"] < timed["exponent"] < timed["high"]
            assert timed["sizes"] == len(records.LADDER[axis])
            flat = (axis, method) == ("depth", "forward_gradient")
            assert remembered["exponent"] == pytest.approx(0 if flat else memory, abs=1e-6)
            assert remembered["low"] <= remembered["exponent"] <= remembered["high"]


def test_the_interval_of_an_exponent_covers_it_about_as_often_as_it_says() -> None:
    covered = []
    for seed in range(40):
        scaling = records.scaling_record(noise=0.05, rounds=2, methods=("backprop",), seed=seed)
        table = where(cost_tables(scaling=scaling)["exponents"], quantity="step_time_s")
        true = table["axis"].map({axis: time for axis, (time, _) in records.EXPONENTS.items()})
        covered += (table["low"].le(true) & true.le(table["high"])).to_list()
    assert len(covered) == 120
    assert 0.9 <= np.mean(covered) <= 0.99


def test_two_sizes_give_an_exponent_without_interval_and_one_gives_none() -> None:
    scaling = records.scaling_record(noise=0.0)
    for ladder in scaling["ladders"]:
        ladder["points"] = [
            point for point in ladder["points"] if point["size"] in (32, 64) and point["axis"] != "batch_size"
        ] + [point for point in ladder["points"] if point["axis"] == "batch_size" and point["size"] == 16]
    table = cost_tables(scaling=scaling)["exponents"]
    width = where(table, axis="width", method="backprop", quantity="step_time_s").iloc[0]
    assert (width["sizes"], width["exponent"]) == (2, pytest.approx(1.5))
    assert where(table, axis="batch_size")["exponent"].isna().all()
    assert table[["low", "high"]].isna().all(axis=None)


def test_memory_that_was_not_measured_or_grew_by_nothing_has_no_exponent() -> None:
    scaling = records.scaling_record()
    for point in scaling["ladders"][0]["points"]:
        point["peak_memory_bytes"] = {"depth": None, "width": 0}.get(point["axis"], 1)
    table = where(cost_tables(scaling=scaling)["exponents"], quantity="peak_memory_bytes", method="backprop")
    assert table["axis"].to_list() == ["batch_size", "width"]
    assert table["exponent"].to_list() == [0.0, pytest.approx(math.nan, nan_ok=True)]


@pytest.mark.parametrize(("load", "noisy"), [(records.QUIET, False), (records.NOISY, True)])
def test_measurements_say_whether_the_machine_was_noisy(load: records.Record, noisy: bool) -> None:
    tables = cost_tables(cost=records.cost_record(RUNS, load=load), scaling=records.scaling_record(load=load))
    table = tables["measurements"].set_index("workload")
    assert list(table.index) == ["ladder", "penguins/logistic_regression"]
    assert table["noisy"].to_list() == [noisy, noisy]
    assert table["others_cores"].to_list() == [load["others_cpu_s"] / 20] * 2
    assert table["off_cpu_fraction"].to_list() == pytest.approx([1 - load["own_cpu_s"] / 20] * 2)
    assert table["switches_per_s"].to_list() == [load["involuntary_switches"] / 20] * 2


@pytest.mark.parametrize(
    ("load", "noisy"),
    [
        ({"steal_s": 0.2}, False),
        ({"steal_s": 0.21}, True),
        ({"own_cpu_s": 19.61}, False),
        ({"own_cpu_s": 19.59}, True),
        ({"others_cpu_s": 5.0}, False),
        ({"others_cpu_s": 5.1}, True),
        ({"steal_s": None, "involuntary_switches": None}, False),
        ({"own_cpu_s": 40.0}, False),
    ],
)
def test_a_machine_is_noisy_above_each_limit_and_never_for_what_is_not_known(
    load: records.Record, noisy: bool
) -> None:
    cost = records.cost_record(RUNS, load=records.QUIET | load)
    [row] = cost_tables(cost=cost)["measurements"].to_dict("records")
    assert row["noisy"] == noisy
    assert noisy == any(row[name] > most for name, most in NOISY_ABOVE.items())


# Soundness: many simulated pairs of steps of known ratio, on a machine that drifts, scatters and stalls.

NUM_PAIRS = 240
RATIOS = {"backprop": 1.0, "same": 1.0, "1.05": 1.05, "1.5": 1.5, "2.0": 2.0}


def simulated(rounds: int, *, scatter: float = 0.03) -> records.Record:
    """A cost record of `NUM_PAIRS` experiments, each with methods of all `RATIOS` and their copies.

    A round drifts slowly and alike for all; every block scatters by itself, and one of twenty takes twice as long.
    """
    rng = np.random.default_rng(rounds)
    experiments = []
    for number in range(NUM_PAIRS):
        drift = np.exp(np.cumsum(rng.normal(0, 0.01, size=(rounds, 2)).reshape(-1)).reshape(rounds, 2))
        times = [
            {"method": method, "engine": "eager", "part": "step", "twin": twin, "steps_per_block": 1}
            | {
                "step_time_s": (
                    seconds
                    * drift
                    * rng.lognormal(0, scatter, size=(rounds, 2))
                    * rng.choice([1, 2], p=[0.95, 0.05], size=(rounds, 2))
                ).tolist()
            }
            for method, seconds in RATIOS.items()
            for twin in (False, True)
        ]
        experiments.append(
            {
                **{"dataset": "simulated", "data": "simulated", "model": f"{number:03}", "device": "cpu"},
                "methods": {method: {"estimator": {"name": method}} for method in RATIOS},
                **{"load": records.QUIET, "times": times, "memory": [], "skipped": []},
            }
        )
    return {"machine": records.MACHINE, "absent": [], "experiments": experiments}


@pytest.fixture(scope="module", params=[12, 20])
def compared(request: pytest.FixtureRequest) -> pd.DataFrame:
    """The ratios of all simulated pairs, each with its true one."""
    table = cost_tables(cost=simulated(request.param))["step_ratios"]
    assert (table["rounds"] == request.param).all()
    true = table["method"].map(RATIOS).where(table["method"] != table["against"], 1.0)
    return table.assign(true=true)


@pytest.mark.parametrize("method", ["same", "1.05", "1.5", "2.0"])
def test_intervals_cover_the_true_ratio_at_least_90_times_in_100(compared: pd.DataFrame, method: str) -> None:
    rows = where(compared, method=method, against="backprop")
    assert len(rows) == NUM_PAIRS
    assert (rows["low"].le(rows["true"]) & rows["true"].le(rows["high"])).mean() >= 0.90


def test_a_step_and_its_copy_are_not_resolved_at_least_95_times_in_100(compared: pd.DataFrame) -> None:
    copies = compared[compared["method"] == compared["against"]]
    assert len(copies) == NUM_PAIRS * len(RATIOS)
    assert copies["verdict"].eq("not resolved").mean() >= 0.95


def test_two_methods_of_one_cost_are_not_resolved_at_least_95_times_in_100(compared: pd.DataFrame) -> None:
    assert where(compared, method="same", against="backprop")["verdict"].eq("not resolved").mean() >= 0.95


@pytest.mark.parametrize(("method", "found"), [("1.05", 0.05), ("1.5", 0.85), ("2.0", 0.95)])
def test_a_slower_step_is_often_found_so_and_never_a_faster_one(
    compared: pd.DataFrame, method: str, found: float
) -> None:
    verdicts = where(compared, method=method, against="backprop")["verdict"]
    assert verdicts.eq("worse").mean() >= found
    assert not verdicts.eq("better").any()


def test_more_noise_widens_intervals_and_raises_the_floor() -> None:
    quiet, noisy = (
        cost_tables(cost=records.cost_record(RUNS, noise=noise))["step_ratios"] for noise in (0.01, 0.1)
    )
    widths = [(table["high"] - table["low"]) / table["ratio"] for table in (quiet, noisy)]
    assert (widths[1] > 3 * widths[0]).all()
    known = quiet["floor"].notna()
    assert (noisy["floor"][known] > quiet["floor"][known]).all()


def test_a_trained_method_is_the_baseline_before_one_that_is_only_measured() -> None:
    cost = records.cost_record(RUNS)
    for experiment in cost["experiments"]:
        experiment["methods"]["a_backprop"] = experiment["methods"]["backprop"]
        own = [timed for timed in experiment["times"] if timed["method"] == "backprop"]
        experiment["times"] += [timed | {"method": "a_backprop"} for timed in own]

    def baselines(trained: set[str]) -> set[str]:
        table = cost_tables(cost=cost, trained=trained)["step_ratios"]
        return set(table[table["method"] == "forward_gradient"]["against"]) - {
            "forward pass",
            "forward_gradient",
        }

    assert baselines({"backprop", "forward_gradient"}) == {"backprop"}
    assert baselines(set()) == {"a_backprop"}
