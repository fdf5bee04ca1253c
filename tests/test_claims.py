"""The claims of the literature: the file that lists them, and each function against studies whose outcome is known."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import records
import tuning_records
import yaml

from fgbench import claims, sources
from fgbench.claims import CLAIMS, CLAIMS_FILE, judged_claims, overview, read_claims
from fgbench.cost_tables import cost_tables
from fgbench.errors import ConfigError
from fgbench.evidence import Evidence
from fgbench.judgements import (
    AGAINST,
    FAILS,
    FOR,
    HOLDS,
    OPEN,
    PARTLY,
    UNRESOLVED,
    UNTESTED,
    Judgement,
    Measured,
)
from fgbench.law_tables import law_tables
from fgbench.probe_tables import probe_tables
from fgbench.tables import study_tables
from fgbench.tuning_tables import tuning_tables

RUNS = records.run_records(num_seeds=8)
MLP = ("mlp",)
PENGUINS = ("logistic_regression", "mlp")
ALL = (*PENGUINS, "cnn")
BACKPROP_S = 1e-3
"""True seconds of a step of backprop."""

FORWARD: records.Record = {
    "estimator": {"name": "forward_gradient"},
    "tangents": "rademacher",
    "num_tangents": 1,
}


def judgement(name: str, evidence: Evidence) -> Judgement:
    """Return a claim of the file, judged."""
    (entry,) = [one for one in read_claims(CLAIMS_FILE) if one.id == name]
    return CLAIMS[name](evidence, **entry.parameters)


def evidence_of(runs: list[records.Record], **changes: Any) -> Evidence:
    return Evidence(law_tables([]) | probe_tables([]) | study_tables(runs, **changes))


@cache
def costed(models: tuple[str, ...], *, times: float) -> Evidence:
    """Return the evidence where a forward gradient's step takes so many times one of backprop's."""
    runs = [record for record in RUNS if record["model"] in models]
    return evidence_of(runs, cost=step_costs(runs, times))


@cache
def timed(times: float, *, noise: float = 0.0) -> Evidence:
    """Return that evidence of the multilayer network, as far as it is of steps alone."""
    runs = [record for record in RUNS if record["model"] == "mlp"]
    costs = cost_tables(None, step_costs(runs, times, noise=noise), trained=records.METHODS)
    return Evidence(trained() | {name: costs[name] for name in ("step_times", "step_ratios", "step_memory")})


def step_costs(runs: list[records.Record], times: float, *, noise: float = 0.0) -> records.Record:
    true = {"forward_gradient": times * BACKPROP_S}
    return records.cost_record(runs, noise=noise, rounds=8, times=true)


@cache
def backprop_alone() -> Evidence:
    """Return the evidence of a study without any other method, whose cost nobody measured."""
    return evidence_of(
        [record for record in RUNS if record["model"] == "mlp" and record["method"] == "backprop"]
    )


def runs_with(
    methods: Mapping[str, records.Record], *, num_seeds: int = 8, models: tuple[str, ...] = ("mlp",)
) -> list[records.Record]:
    """Return run records of methods with these settings; the later one stands, the more steps it takes."""
    found = records.run_records(methods=tuple(methods), num_seeds=num_seeds)
    exact = {"estimator": {"name": "backprop"}, "tangents": None, "num_tangents": None}
    for record in found:
        record["settings"] |= exact | methods[record["method"]]
    return [record for record in found if record["model"] in models]


# The file


def test_every_entry_has_a_function_and_every_function_an_entry() -> None:
    entries = read_claims(CLAIMS_FILE)
    assert [entry.id for entry in entries] == sorted((entry.id for entry in entries), key=[*CLAIMS].index)
    assert {entry.id for entry in entries} == CLAIMS.keys()
    assert len(entries) >= 12


def test_every_entry_says_whose_claim_it_is_and_whether_that_was_read() -> None:
    for entry in read_claims(CLAIMS_FILE):
        assert entry.words in ("quoted", "paraphrased")
        assert entry.evidence in ("read in the source", "read in a secondary source")
        assert any(mark in entry.source for mark in ("arXiv", "github.com"))
    names = [entry.name for entry in read_claims(CLAIMS_FILE)]
    assert len({*names}) == len(names)


def test_the_figures_of_a_step_in_forward_passes_are_called_secondary() -> None:
    (entry,) = [entry for entry in read_claims(CLAIMS_FILE) if entry.id == "cheaper_step"]
    assert entry.evidence == "read in a secondary source"
    assert entry.parameters == {"forward": 2.46, "backprop": 4.17}


def test_the_file_lies_within_the_package_and_is_installed_with_it() -> None:
    root = Path(claims.__file__).parent
    assert CLAIMS_FILE.parent == root
    declared = (root.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'fgbench = ["{CLAIMS_FILE.name}"]' in declared


def test_another_file_of_claims_makes_tables_and_report_anew_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "fgbench"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    before = {command: sources.code_hash(command) for command in ("report", "tables", "train")}
    (copy / CLAIMS_FILE.name).write_text("[]", encoding="utf-8")
    changed = {command for command, found in before.items() if sources.code_hash(command) != found}
    assert changed == {"tables", "report"}


def test_a_claim_is_added_by_an_entry_and_a_function_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts_runs(evidence: Evidence, *, at_least: float) -> Judgement:
        number = len(evidence.tables["runs"])
        return Judgement(HOLDS if number >= at_least else FAILS, figure=str(number))

    entry = yaml.safe_load(CLAIMS_FILE.read_text(encoding="utf-8"))[0]
    added = entry | {"id": "mine", "name": "many runs", "parameters": {"at_least": 8}}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([entry, added], allow_unicode=True), encoding="utf-8")
    monkeypatch.setitem(CLAIMS, "mine", counts_runs)
    found = judged_claims(backprop_alone().tables, path)
    assert [one.entry.id for one in found] == ["faster_step", "mine"]
    assert (found[1].judgement.verdict, found[1].judgement.figure) == (HOLDS, "8")
    assert "1 holds (many runs)" in overview(found)[0]


@cache
def first_entry() -> dict[str, Any]:
    found: list[dict[str, Any]] = yaml.safe_load(CLAIMS_FILE.read_text(encoding="utf-8"))
    return found[0]


def entry_with(**changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = first_entry()
    return {key: value for key, value in (entry | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a: 1", "a list of claims was expected"),
        ("[1, 2]", "a list of claims was expected"),
        ("- [", "cannot be read as YAML"),
        ([entry_with(cite=...)], "faster_step.cite: a text was expected, None found"),
        ([entry_with(claim="  ")], "faster_step.claim: a text was expected"),
        ([entry_with(author="me")], "faster_step: unknown key 'author'; accepted: id, name, claim, words"),
        (
            [entry_with(words="hearsay")],
            "faster_step.words: 'hearsay' is not accepted; accepted: 'quoted' or",
        ),
        (
            [entry_with(evidence="S")],
            "faster_step.evidence: 'S' is not accepted; accepted: 'read in the source' or",
        ),
        ([entry_with(note=3)], "faster_step.note: a text was expected, 3 found"),
        ([entry_with(id="nobodys")], "nobodys: has no function; claims.CLAIMS has faster_step, "),
        ([entry_with(id=...)], "entry 1.id: a text was expected"),
        ([entry_with(), entry_with()], "faster_step: stands there more than once"),
        ([entry_with(parameters=...)], "faster_step.parameters: none given; its function asks for speed_up"),
        ([entry_with(parameters={"speed": 2})], "speed given; its function asks for speed_up"),
        (
            [entry_with(parameters={"speed_up": "2"})],
            "faster_step.parameters.speed_up: a number was expected, '2'",
        ),
        ([entry_with(parameters=[2])], "faster_step.parameters: a mapping of names to numbers was expected"),
    ],
)
def test_a_file_that_lists_no_claims_is_refused_with_its_key_and_value(
    content: Any, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "claims.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_claims(path)
    assert complaint in str(refused.value)
    assert str(path) in str(refused.value)


def test_every_complaint_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([entry_with(cite=..., words="no")], allow_unicode=True), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)\.cite.*\.words"):
        read_claims(path)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_study_without_what_a_claim_needs_says_what_is_missing(name: str) -> None:
    found = judgement(name, backprop_alone())
    assert found.verdict == UNTESTED
    assert len(found.reason) > 20
    assert not found.measured


def test_claims_are_counted_by_verdict_and_those_judged_are_named() -> None:
    entries = read_claims(CLAIMS_FILE)[:5]
    verdicts = (HOLDS, PARTLY, FAILS, FAILS, UNTESTED)
    found = [claims.Judged(*one) for one in zip(entries, map(Judgement, verdicts), strict=True)]
    names = [entry.name for entry in entries]
    assert overview(found) == [
        f"Of 5 claims of the literature, 1 holds ({names[0]}), 1 holds on a condition ({names[1]}), 2 do not hold "
        f"({names[2]}; {names[3]}) and 1 cannot be tested here."
    ]
    assert overview([]) == []


# What a step costs


def one_measured(says: str, value: float = 1.0, spread: float = 1.1, p_value: float = 1e-4) -> Measured:
    return Measured(
        "mlp", "mine against backprop, eager", value, value / spread, value * spread, p_value, says
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([one_measured(AGAINST), one_measured(FOR, 0.5)], HOLDS),
        ([one_measured(AGAINST), one_measured(FOR, 0.51)], PARTLY),
        ([one_measured(FOR, 0.8, spread=1.01)], PARTLY),
        ([one_measured(FOR, 0.8, spread=2.0)], PARTLY),  # noise is no help
        ([one_measured(OPEN, p_value=0.4), one_measured(FOR, 0.7)], PARTLY),
        ([one_measured(AGAINST), one_measured(AGAINST)], FAILS),
        ([one_measured(AGAINST), one_measured(OPEN, 0.8, spread=2.0, p_value=0.4)], UNRESOLVED),
        (
            [one_measured(FOR, 0.4, p_value=0.03), *3 * [one_measured(OPEN, p_value=0.4)]],
            UNRESOLVED,
        ),  # of four, one
    ],
)
def test_a_speed_up_in_some_case_is_judged_by_how_much_faster_one_is(
    found: list[Measured], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert claims._in_some_case(found, "time", 2.0).verdict == expected


@pytest.mark.parametrize(
    ("times", "noise", "expected"),
    [(0.4, 0.0, HOLDS), (0.8, 0.0, PARTLY), (1.3, 0.0, FAILS), (1.0, 0.05, UNRESOLVED)],
)
def test_twice_as_fast_is_judged_by_the_time_of_a_step(times: float, noise: float, expected: str) -> None:
    assert judgement("faster_step", timed(times, noise=noise)).verdict == expected


@pytest.mark.parametrize(
    ("times", "models", "expected"),
    [
        (0.05, ALL, HOLDS),  # forward gradients take 5 times the steps
        (1.0, PENGUINS, FAILS),
        (1.0, ALL, UNRESOLVED),  # a convolutional network's run missed its target
    ],
)
def test_twice_as_fast_is_judged_by_the_time_to_the_target(
    times: float, models: tuple[str, ...], expected: str
) -> None:
    assert judgement("faster_to_target", costed(models, times=times)).verdict == expected


def test_a_smaller_speed_up_is_said_with_its_interval_and_its_case() -> None:
    found = judgement("faster_step", timed(0.8))
    assert found.reason == (
        "a gain of less than 2× counts: at best 1.2× [1.2, 1.2], mlp on penguins, forward_gradient against backprop, "
        "eager"
    )


def test_engines_on_which_backprop_is_slow_prove_nothing() -> None:
    found = judgement("faster_step", timed(1.3))
    assert [one.what for one in found.measured] == [
        "forward_gradient against backprop, eager",
        "forward_gradient against backprop, compiled torch.func",
    ]


def test_runs_that_missed_the_target_leave_a_comparison_without_a_figure() -> None:
    found = judgement("faster_to_target", costed(ALL, times=1.0))
    assert [one.text == "–" for one in found.measured] == [False, False, True]
    assert "cnn" in found.measured[2].where


def test_forward_gradients_that_are_only_measured_are_judged_where_none_is_trained() -> None:
    runs = [record for record in RUNS if record["model"] == "mlp" and record["method"] == "backprop"]
    found = judgement("faster_step", evidence_of(runs, cost=records.cost_record(runs, noise=0.0, rounds=8)))
    assert {one.what.split()[0] for one in found.measured} == {"forward_gradient_4", "forward_gradient_16"}
    assert found.verdict == FAILS


def test_a_claims_own_figures_stand_beside_those_of_a_whole_step_here() -> None:
    found = judgement("cheaper_step", timed(0.4))
    assert found.verdict == HOLDS
    assert found.note == (
        "The claim's figures are 2.46 and 4.17 forward passes, 0.59× between them; a whole step here: mlp on penguins "
        "0.80× against 2.0×."
    )
    assert judgement("cheaper_step", timed(1.3)).verdict == FAILS


@pytest.mark.parametrize(("times", "expected"), [(1.3, HOLDS), (0.8, FAILS)])
def test_no_speed_up_holds_where_a_step_is_slower(times: float, expected: str) -> None:
    assert judgement("no_speed_up", timed(times)).verdict == expected


def ladder(**per_layer: int) -> Evidence:
    """Return the evidence of a ladder of width 32 whose memory grows by so many bytes a layer, of 1 MB and more."""
    scaling = records.scaling_record(noise=0.0, methods=records.METHODS)
    for point in scaling["ladders"][0]["points"]:
        point |= {"width": 32, "peak_memory_bytes": 1_000_000 + per_layer[point["method"]] * point["depth"]}
    return with_ladder(scaling)


def with_ladder(scaling: records.Record) -> Evidence:
    costs = cost_tables(None, None, scaling)
    return Evidence(trained() | {name: costs[name] for name in ("ladder", "exponents")})


@pytest.mark.parametrize(
    ("forward", "backprop", "expected"),
    [
        (0, 1_000_000, HOLDS),
        (2 * 4 * (32**2 + 32) * 40, 1_000_000, FAILS),  # 40 times its own vectors
        (0, 0, FAILS),  # backprop's does not grow either
    ],
)
def test_memory_flat_in_depth_is_judged_for_both(forward: int, backprop: int, expected: str) -> None:
    assert judgement("flat_in_depth", ladder(forward_gradient=forward, backprop=backprop)).verdict == expected


def test_memory_may_be_flat_but_for_the_forward_gradients_own_vectors() -> None:
    scaling = records.scaling_record(noise=0.0, methods=records.METHODS)
    vectors = 2 * 4 * (64**2 + 64)  # a tangent and the estimate, of float32
    for point in scaling["ladders"][0]["points"]:
        if point["axis"] == "depth":
            own = (
                vectors * point["depth"] if point["method"] == "forward_gradient" else 10**7 * point["depth"]
            )
            point["peak_memory_bytes"] = 50_000 + own
    found = judgement("flat_in_depth", with_ladder(scaling))
    assert found.verdict == PARTLY
    assert "tangents and the estimate" in found.reason
    assert [one.says for one in found.measured] == [AGAINST, FOR, FOR]


def central(factor: float) -> Evidence:
    """Return the evidence where a central difference takes so many times a forward pass's memory, nearly."""
    scaling = records.scaling_record(methods=("forward pass", "mine"))
    for place, point in enumerate(scaling["ladders"][0]["points"]):
        slightly = 1 + 0.01 * (place % 3)
        point["peak_memory_bytes"] = round(1e6 * (factor * slightly if point["method"] == "mine" else 1))
    costs = cost_tables(None, None, scaling)
    return Evidence(central_difference() | {"ladder": costs["ladder"]})


@cache
def central_difference() -> dict[str, pd.DataFrame]:
    """Return the tables of a central difference, trained at a single seed."""
    return study_tables(
        runs_with({"mine": FORWARD | {"estimator": {"name": "central_difference"}}}, num_seeds=1)
    )


@pytest.mark.parametrize(("factor", "expected"), [(1.1, HOLDS), (1.24, UNRESOLVED), (3.0, FAILS)])
def test_inference_memory_is_judged_over_the_ladders_sizes(factor: float, expected: str) -> None:
    found = judgement("inference_memory", central(factor))
    assert found.verdict == expected
    assert {one.where for one in found.measured} <= {f"ladder, {axis}" for axis in records.LADDER}


CHECKPOINTED = {
    "backprop": {},
    "mine": {"estimator": {"name": "checkpointed_backprop"}},
    "forward": FORWARD,
}


@cache
def checkpointed(step_time_s: float) -> dict[str, pd.DataFrame]:
    """Return the tables where a step of checkpointed backprop takes so long, and a forward gradient's 2 ms."""
    runs = runs_with(CHECKPOINTED)
    return study_tables(
        runs, cost=records.cost_record(runs, noise=0.0, rounds=8, times={"mine": step_time_s})
    )


def at_memory(factor: float, *, step_time_s: float = 1e-3) -> Evidence:
    """Return the evidence where checkpointed backprop takes so many times the memory of a forward gradient."""
    tables = checkpointed(step_time_s)
    memory = tables["step_memory"].assign(peak_memory_bytes=1_000_000)
    memory.loc[memory["method"] == "mine", "peak_memory_bytes"] = round(1_000_000 * factor)
    return Evidence(tables | {"step_memory": memory})


def test_checkpointing_is_judged_at_comparable_memory_alone() -> None:
    evidence = at_memory(1.2)
    found = judgement("checkpointing_faster", evidence)
    assert found.verdict == HOLDS
    assert "1.2× the memory" in found.note
    assert judgement("checkpointing_more_accurate", evidence).verdict == HOLDS
    refused = judgement("checkpointing_faster", at_memory(3.0))
    assert refused.verdict == UNTESTED
    assert "comparable memory, up to 1.5× here: checkpointed backprop takes 3.0×" in refused.reason


def test_a_checkpointed_step_may_be_too_slow_to_win() -> None:
    assert judgement("checkpointing_faster", at_memory(1.0, step_time_s=1.0)).verdict == FAILS


# How training goes


def test_as_many_steps_is_within_the_factor_or_it_is_not() -> None:
    near = runs_with({"backprop": {}, "mine": FORWARD})
    for record in near:
        for run in record["runs"] if record["method"] == "mine" else ():
            run["steps_to_target"] = round(1.1 * (20 + 10 * run["seed"]))
    assert judgement("as_many_steps", evidence_of(near)).verdict == HOLDS
    assert (
        judgement("as_many_steps", evidence_of(runs_with({"backprop": {}, "mine": FORWARD}))).verdict == FAILS
    )


def test_a_lower_accuracy_of_forward_gradients_is_told_by_pairs() -> None:
    assert (
        judgement("less_accurate", evidence_of(runs_with({"backprop": {}, "mine": FORWARD}))).verdict == HOLDS
    )
    swapped = runs_with({"mine": FORWARD, "backprop": {}})
    assert judgement("less_accurate", evidence_of(swapped)).verdict == FAILS


@cache
def trained() -> dict[str, pd.DataFrame]:
    """Return the tables of backprop and a forward gradient that takes nine times its steps and more."""
    return study_tables(runs_with({"backprop": {}, "forward_gradient": FORWARD}))


def with_tuning(*tuning: records.Record) -> Evidence:
    return Evidence(trained() | tuning_tables(tuning))


def test_backprop_ends_lower_is_judged_at_tuned_rates_alone() -> None:
    found = judgement("ends_lower_when_tuned", with_tuning(tuning_records.tuning_record()))
    assert found.verdict == HOLDS
    assert "0.332 and 0 after 50 epochs" in found.note
    other = with_tuning(tuning_records.tuning_record(model="cnn"))
    assert judgement("ends_lower_when_tuned", other).verdict == UNTESTED


def tuned(forward: float, backprop: float, at_its_rate: float | None, *, num_seeds: int = 8) -> Evidence:
    """Return the evidence of trials that end at these validation losses; backprop at the other's rate may diverge."""
    trials = tuning_records.TRIALS | {"seeds": [*range(100, 100 + num_seeds)]}
    record = tuning_records.tuning_record(trials=trials)
    losses = {"forward_gradient": forward, "backprop": backprop}
    for method, one in record["methods"].items():
        _end(one["trials"], losses[method])
    for shared in record["shared"]:
        _end(shared["trials"], at_its_rate if shared["method"] == "backprop" else 9.0)
    return with_tuning(record)


def _end(trials: list[records.Record], loss: float | None) -> None:
    for trial in trials:
        at_seed = None if loss is None else loss * (1 + 0.01 * (trial["seed"] % 3))
        trial |= {"validation_loss": at_seed, "status": "diverged" if loss is None else "finished"}


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((0.4, 0.1, 0.8), PARTLY),
        ((0.4, 0.1, 0.3), FAILS),
        ((0.4, 0.6, 0.8), HOLDS),
        ((0.4, 0.1, None), PARTLY),  # backprop diverges at the other's rate
    ],
)
def test_better_than_backprop_is_judged_at_a_shared_rate_and_at_each_ones_own(
    losses: tuple[float, float, float | None], expected: str
) -> None:
    found = judgement("better_at_a_shared_rate", tuned(*losses))
    assert found.verdict == expected
    assert (found.reason == "backprop takes the rate that suits the forward gradient, not its own") == (
        expected == PARTLY
    )


def test_few_trials_resolve_nothing_at_a_shared_rate() -> None:
    assert judgement("better_at_a_shared_rate", tuned(0.4, 0.1, 0.8, num_seeds=3)).verdict == UNRESOLVED


@pytest.mark.parametrize(("rate", "expected"), [(1 / 131, HOLDS), (0.5, FAILS), (1 / 131 * 6, UNRESOLVED)])
def test_a_rate_is_smaller_by_about_the_number_of_parameters_or_it_is_not(rate: float, expected: str) -> None:
    record = tuning_records.tuning_record(best={"backprop": 1.0, "forward_gradient": rate})
    found = judgement("rate_smaller_by_dimension", with_tuning(record))
    assert found.verdict == expected
    assert "for a law of 131×" in found.note


@cache
def two_sizes() -> dict[str, pd.DataFrame]:
    """Return the tables of models of 15 and 131 parameters, whose forward gradients take as many steps."""
    return study_tables(runs_with({"backprop": {}, "mine": FORWARD}, models=PENGUINS))


def with_steps(method: str, factor: float | None) -> Evidence:
    """Return their evidence where a method takes so many times the steps on the larger model, or misses the target."""
    runs = two_sizes()["runs"].copy()
    chosen = (runs["model"] == "mlp") & (runs["method"] == method)
    steps = runs.loc[chosen, "steps_to_target"]
    runs.loc[chosen, "steps_to_target"] = (
        pd.NA if factor is None else (steps * factor).round().astype("Int64")
    )
    return Evidence(two_sizes() | {"runs": runs})


def test_a_gap_that_grows_is_judged_by_a_slope_at_each_seed() -> None:
    same = judgement("gap_grows", Evidence(two_sizes()))
    assert same.verdict == UNRESOLVED
    assert same.measured[0].value == pytest.approx(0, abs=1e-9)
    found = judgement("gap_grows", with_steps("mine", 9))
    assert found.verdict == HOLDS
    assert found.measured[0].value == pytest.approx(math.log(9) / math.log(131 / 15))
    assert found.measured[0].what == "mine, d = 15 and 131"
    assert judgement("gap_grows", with_steps("backprop", 9)).verdict == FAILS


def test_a_missed_target_understates_a_gap_and_one_of_backprop_leaves_the_model_out() -> None:
    assert judgement("gap_grows", with_steps("mine", None)).verdict == HOLDS
    assert judgement("gap_grows", with_steps("backprop", None)).verdict == UNTESTED


# Better estimates

FASTER = {
    "more_tangents_train_faster": FORWARD | {"num_tangents": 4},
    "orthonormal_train_faster": FORWARD | {"estimator": {"name": "orthonormal_projection"}},
    "local_guesses_train_faster": {"estimator": {"name": "local_guesses"}},
    "feedback_trains_faster": FORWARD | {"estimator": {"name": "feedback_alignment"}},
    "second_order_trains_faster": FORWARD | {"estimator": {"name": "second_order_forward"}},
}


@cache
def beside_plain(*, faster: bool) -> Evidence:
    """Return the evidence of all of these estimators on one model, each with fewer steps than plain, or with more."""
    if faster:
        return evidence_of(runs_with({**FASTER, "plain": FORWARD}))
    return evidence_of(runs_with({"plain": FORWARD, **FASTER}))


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize(("faster", "expected"), [(True, HOLDS), (False, FAILS)])
def test_training_faster_is_told_by_fewer_steps(name: str, faster: bool, expected: str) -> None:
    found = judgement(name, beside_plain(faster=faster))
    assert found.verdict == expected
    assert [one.what for one in found.measured] == [f"{name} against plain"]
    assert (found.measured[0].value < 1) == faster


@cache
def plainly_trained() -> dict[str, pd.DataFrame]:
    """Return the tables of a study with one seed; its experiment is what matters."""
    return study_tables(runs_with({"plain": FORWARD, "mine": FASTER["feedback_trains_faster"]}, num_seeds=1))


def with_laws(
    *rows: tuple[str, str, str, int, float], error: float = 0.01, point: str = "initial"
) -> Evidence:
    """Return the evidence of measured means: (law, estimator, tangents, their number, mean), of this relative error."""
    found = [
        {
            "law": law,
            "point": point,
            "estimator": estimator,
            "tangents": tangents,
            "num_tangents": number,
            "num_parameters": 131,
            "draws": 1000,
            "expected": mean,
            "measured": mean,
            "standard_error": error * mean,
            "skewness": 0.0,
            "tolerance": None,
        }
        for law, estimator, tangents, number, mean in rows
    ]
    experiment = {"dataset": "penguins", "data": "penguins", "model": "mlp", "num_parameters": 131}
    return Evidence(plainly_trained() | law_tables([{**experiment, "rows": found, "skipped": []}]))


def variance(tangents: str, value: float) -> tuple[str, str, str, int, float]:
    return ("variance", "forward_gradient", tangents, 1, value)


@pytest.mark.parametrize(
    ("rademacher", "error", "expected"),
    [(100.0, 0.01, HOLDS), (125.0, 0.01, FAILS), (100.0, 0.2, UNRESOLVED), (115.0, 0.01, PARTLY)],
)
def test_the_least_variance_is_judged_against_every_other_tangent(
    rademacher: float, error: float, expected: str
) -> None:
    others = (variance("normal", 120.0), variance("uniform", 110.0), variance("sphere", 1.0))
    evidence = with_laws(variance("rademacher", rademacher), *others, error=error)
    found = judgement("rademacher_varies_least", evidence)
    assert found.verdict == expected
    assert [one.what.split(",")[0] for one in found.measured] == [
        "rademacher against normal",
        "rademacher against uniform",  # the sphere's entries hang on each other
    ]


def test_means_are_told_apart_by_both_their_errors() -> None:
    evidence = with_laws(variance("rademacher", 100.0), variance("normal", 103.0), error=0.02)
    (one,) = judgement("rademacher_varies_least", evidence).measured
    # ln(1.03) = 0.02956 lies 1.045 standard errors, 0.02 √2, from nothing: a two-sided p of 0.296
    assert one.says == OPEN
    assert one.p_value == pytest.approx(0.296, abs=1e-3)
    assert one.low == pytest.approx(100 / 103 / math.exp(1.959964 * 0.02 * math.sqrt(2)))


@pytest.mark.parametrize(("several", "expected"), [(0.2, HOLDS), (0.05, FAILS)])
def test_closer_is_a_greater_cosine(several: float, expected: str) -> None:
    single = ("cosine", "forward_gradient", "normal", 1, 0.1)
    more = with_laws(single, ("cosine", "forward_gradient", "normal", 4, several))
    assert judgement("more_tangents_closer", more).verdict == expected
    mean = ("cosine", "forward_gradient", "normal", 4, 0.1)
    projected = ("projection_cosine", "orthonormal_projection", "normal", 4, several)
    assert judgement("orthonormal_closer", with_laws(single, mean, projected)).verdict == expected


@pytest.mark.parametrize(("activities", "expected"), [(40.0, HOLDS), (400.0, FAILS)])
def test_perturbed_activities_are_held_against_weights_with_the_same_tangents(
    activities: float, expected: str
) -> None:
    own = ("activity_variance", "activity_perturbation", "rademacher", 1, activities)
    evidence = with_laws(variance("normal", 1.0), variance("rademacher", 100.0), own, point="trained")
    found = judgement("activities_vary_less", evidence)
    assert found.verdict == expected
    assert [one.what for one in found.measured] == ["rademacher, trained parameters"]


def probed(**cosines: Mapping[int, float]) -> Evidence:
    """Return the evidence of runs probed at steps, with these mean cosines, of 25 draws that scatter by 0.05."""
    runs = [
        {
            **{"dataset": "penguins", "data": "penguins", "model": "mlp", "method": method},
            **{
                "seed": 0,
                "num_parameters": 131,
                "rows": [_probe(step, mean) for step, mean in by_step.items()],
            },
        }
        for method, by_step in cosines.items()
    ]
    return Evidence(plainly_trained() | probe_tables(runs))


def _probe(step: int, mean: float) -> records.Record:
    cosine = {"mean": mean, "sd": 0.05} | dict.fromkeys(["q05", "q25", "q50", "q75", "q95"], mean)
    about = {"step": step, "loss": 1.0, "gradient_norm": 1.0, "batch_cosine": 0.9, "draws": 25}
    return about | {"quantities": {"cosine": cosine}}


def test_probed_cosines_are_compared_at_the_steps_of_both() -> None:
    evidence = probed(mine={0: 0.2, 10: 0.3}, plain={0: 0.1, 10: 0.1, 90: 9.0})
    found = judgement("feedback_closer", evidence)
    assert found.verdict == HOLDS
    (one,) = found.measured
    assert one.value == pytest.approx(0.15)
    # of a mean of two points of 25 draws each: 0.05 / 5 / √2, of both together 0.05 / 5
    assert one.high - one.value == pytest.approx(1.959964 * 0.01)
    assert "2 points of training" in one.what
    assert judgement("feedback_closer", probed(mine={0: 0.0}, plain={0: 0.1})).verdict == FAILS
    assert judgement("feedback_closer", probed(mine={0: 0.1}, plain={10: 0.1})).verdict == UNTESTED


def test_a_missed_target_leaves_the_loss_after_equal_steps() -> None:
    runs = runs_with({"mine": FASTER["local_guesses_train_faster"], "plain": FORWARD})
    for record in runs:
        if record["method"] == "plain":
            record["runs"][0] = records.missed(record["runs"][0])
    found = judgement("local_guesses_train_faster", evidence_of(runs))
    assert found.verdict == HOLDS
    assert found.measured[0].what == "mine against plain, loss"


def test_several_tangents_are_counted_by_their_passes_too() -> None:
    found = judgement("more_tangents_train_faster", beside_plain(faster=True))
    assert f"{4 * found.measured[0].value:.2f}× the passes of a single tangent" in found.note


def test_models_that_differ_make_a_condition() -> None:
    """On one model guesses take fewer steps, on the other more."""
    quick = runs_with({"mine": FASTER["local_guesses_train_faster"], "plain": FORWARD})
    slow = runs_with(
        {"plain": FORWARD, "mine": FASTER["local_guesses_train_faster"]}, models=("logistic_regression",)
    )
    found = judgement("local_guesses_train_faster", evidence_of(quick + slow))
    assert found.verdict == PARTLY
    assert found.reason == "the case is mlp on penguins (against it: logistic_regression on penguins)"


def test_the_order_of_a_studys_methods_changes_nothing() -> None:
    runs = runs_with({"backprop": {}, "forward_gradient": FORWARD})
    one, other = evidence_of(runs), evidence_of(runs[::-1])
    assert one.tables.keys() == other.tables.keys()
    for found, again in zip(judged_claims(one.tables), judged_claims(other.tables), strict=True):
        pd.testing.assert_series_equal(pd.Series(str(found)), pd.Series(str(again)))


def test_a_whole_study_judges_every_claim_that_it_can() -> None:
    runs = records.run_records(methods=records.METHODS, num_seeds=6)[:8]
    cost, scaling = records.cost_record(runs, rounds=6), records.scaling_record(noise=0.0)
    found = judged_claims(evidence_of(runs, cost=cost, scaling=scaling).tables)
    assert {one.entry.id for one in found if one.judgement.verdict != UNTESTED} == {
        "faster_step",
        "faster_to_target",
        "cheaper_step",
        "no_speed_up",
        "as_many_steps",
        "less_accurate",
        "gap_grows",
        "flat_in_depth",
    }
