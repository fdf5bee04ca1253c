"""Two finished studies go in, A and B; what differs between them, cell by cell and number by number, comes out."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from fgbench.claims import Entry, judged_claims
from fgbench.cost_findings import measured_methods
from fgbench.cost_tables import FORWARD_PASS, STEP
from fgbench.errors import ResultError
from fgbench.findings import Experiment, Row, Tables, experiments, seeds_text
from fgbench.judgements import Judgement
from fgbench.provenance import MAKER
from fgbench.statistics import Floats, ends, paired_difference, paired_ratio
from fgbench.tables import COLUMNS
from fgbench.tidy import EXPERIMENT, KEY, rows_of
from fgbench.types import Json
from fgbench.verification import IDENTICAL, NOT_COMPARABLE, WITHIN, reference_of
from fgbench.verification import verification as verified
from fgbench.wording import ABSENT

BETTER, WORSE, UNRESOLVED = "better", "worse", "not resolved"
"""What is said of B beside A where both can be compared and the numbers are not the same."""

CHANGED = "changed"
"""What is said of a cell one of whose results is resolved to be another, and of a ratio or a count."""

QUANTITIES: dict[str, tuple[Literal["difference", "ratio"], bool]] = {
    "test_loss": ("difference", False),
    "test_accuracy": ("difference", True),
    "train_loss": ("difference", False),
    "steps_to_target": ("ratio", False),
}
"""By what two studies' runs are compared: B − A or B / A, and whether more is better."""

NEEDED = (
    *("cells", "runs", "summary", "curves", "comparisons", "blocks", "step_times", "step_ratios"),
    *(
        "operations",
        "step_memory",
        "ladder",
        "measurements",
        "trials",
        "rates",
        "shared_rates",
        "laws",
        "probes",
    ),
)
"""The tables that a comparison reads; another version of fgbench may have written the others otherwise."""


@dataclass(frozen=True)
class Study:
    """A finished study: its folder's name, its tables, its run records, its counted steps, what made it, its verdict.

    `counts` are the cells of `operations.json`; `provenance` and `verification` are the files of these names.
    """

    name: str
    tables: Tables
    records: Sequence[Json]
    counts: Sequence[Json]
    provenance: Json
    verification: Json


@dataclass(frozen=True)
class Fact:
    """Something that is not the same in both studies, in words; what one of them lacks is a dash."""

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Facts:
    """Facts of one kind: those that differ, and how many there are."""

    kind: str
    differing: Sequence[Fact]
    total: int


@dataclass(frozen=True)
class Difference:
    """How far a quantity of B lies from A's, by pairs of runs of one seed.

    `first` and `second` are the means over these pairs, `mean` that of the differences, with its interval; geometric
    ones for a ratio. NaN where no pair is complete. If `unpaired` seeds lack the number in A or B, nothing is claimed.
    """

    metric: str
    first: float
    second: float
    mean: float
    low: float
    high: float
    p_value: float
    pairs: int
    unpaired: int
    verdict: str


@dataclass(frozen=True)
class ComparedCell:
    """A cell that both studies have.

    `reason` says why it cannot be compared, if it cannot; `otherwise` are the settings that differ. `runs` are, of the
    seeds that both have, what `verification` says of B's run with A's as its reference; `left_out` are other seeds.
    """

    experiment: Experiment
    method: str
    reason: str = ""
    otherwise: Sequence[Fact] = ()
    left_out: Sequence[int] = ()
    runs: Sequence[Json] = ()
    differences: Sequence[Difference] = ()

    @property
    def verdict(self) -> str:
        """Identical, within tolerance, changed, not resolved or not comparable."""
        found = {run["verdict"] for run in self.runs}
        if self.reason:
            return NOT_COMPARABLE
        if found <= {IDENTICAL}:
            return IDENTICAL
        if found <= {IDENTICAL, WITHIN}:
            return WITHIN
        resolved = any(one.verdict in (BETTER, WORSE) for one in self.differences)
        return CHANGED if resolved else UNRESOLVED


@dataclass(frozen=True)
class ComparedStep:
    """What a method's whole step costs in both studies, and beside the baseline's step in the same study.

    A row of `step_times` and one of `step_ratios` each, None where it was not measured. The verdict is on the ratios:
    better or worse, not resolved, or not comparable; it is empty where neither study has one.
    """

    experiment: Experiment
    method: str
    device: str
    engine: str
    times: tuple[Row | None, Row | None]
    ratios: tuple[Row | None, Row | None]
    otherwise: Sequence[Fact]
    verdict: str


@dataclass(frozen=True)
class ComparedCount:
    """The operations of a method's step in both studies, None where they were not counted."""

    experiment: Experiment
    method: str
    first: int | None
    second: int | None
    otherwise: Sequence[Fact]

    @property
    def verdict(self) -> str:
        """Identical, changed or not comparable."""
        if self.first is None or self.second is None:
            return NOT_COMPARABLE
        return IDENTICAL if self.first == self.second else CHANGED


@dataclass(frozen=True)
class ComparedClaim:
    """A claim of the literature, and what either study says to it."""

    entry: Entry
    first: Judgement
    second: Judgement


@dataclass(frozen=True)
class Comparison:
    """All that is told of two studies; `only_first` and `only_second` name cells of one alone, `copies` count files.

    A copy is a run record that both have with the same provenance: one training, not two.
    """

    first: Study
    second: Study
    facts: Sequence[Facts]
    cells: Sequence[ComparedCell]
    only_first: Sequence[str]
    only_second: Sequence[str]
    steps: Sequence[ComparedStep]
    counts: Sequence[ComparedCount]
    claims: Sequence[ComparedClaim]
    copies: int


_Told = TypeVar("_Told", ComparedCell, ComparedStep, ComparedCount)


def compared(first: Study, second: Study) -> Comparison:
    """Compare a study B, `second`, with a study A."""
    cells, others = _cells(first.records), _cells(second.records)
    settings = _settings_of_steps(first.counts), _settings_of_steps(second.counts)
    return Comparison(
        first,
        second,
        facts=_facts(first, second),
        cells=_in_order(first, second, list(_compared_cells(first.tables, second.tables, cells, others))),
        only_first=["/".join(key) for key in cells if key not in others],
        only_second=["/".join(key) for key in others if key not in cells],
        steps=_in_order(first, second, _compared_steps(first.tables, second.tables, settings)),
        counts=_in_order(first, second, _compared_counts(first.tables, second.tables, settings)),
        claims=_compared_claims(first.tables, second.tables),
        copies=_num_copies(first.records, second.records),
    )


def require_readable(name: str, columns: Mapping[str, Iterable[str]]) -> None:
    """Refuse tables that lack what a comparison reads; `columns` are those of each table as `columns.json` has them.

    Raises ResultError.
    """
    for table in NEEDED:
        lacking = [column for column in COLUMNS[table] if column not in columns.get(table, ())]
        if lacking:
            what = f"{table} has no column {lacking[0]}" if table in columns else f"there is no {table}"
            raise ResultError(
                f"{name}: its tables were written by another version of fgbench: {what}, which this version reads. "
                "Make its tables anew with this version (`make report`, with its CONFIG), or compare "
                "with the version that wrote them."
            )


def require_made(name: str, provenance: Json) -> None:
    """Refuse a study's provenance that does not say what a comparison tells of.

    Raises ResultError.
    """
    for part, keys in _TOLD_OF_MAKING.items():
        lacking = [key for one in provenance[part] for key in keys if key not in one]
        if lacking:
            raise ResultError(
                f"{name}: was made by another version of fgbench: in its provenance, {part} have no {lacking[0]}, "
                "which this version reads. Run the study again with this version, or compare with the one that made it."
            )


def differing(first: Any, second: Any) -> list[Fact]:
    """Return where two values of JSON differ, by the dotted names of their places.

    >>> differing({"rate": 0.1, "model": {"widths": [8]}}, {"rate": 0.2, "model": {"widths": [8]}, "note": "x"})
    [Fact(what='note', first='–', second='x'), Fact(what='rate', first='0.1', second='0.2')]
    """
    return _unlike(dict(_leaves(first)), dict(_leaves(second)))


def fact_text(fact: Fact) -> str:
    """Return a difference in a sentence's words.

    >>> fact_text(Fact("learning_rate", "0.1", "0.2"))
    'learning_rate 0.1 in A, 0.2 in B'
    """
    return f"{fact.what} {fact.first} in A, {fact.second} in B"


def _facts(first: Study, second: Study) -> list[Facts]:
    """Return what made both studies, by kind."""
    sides = _made(first.provenance), _made(second.provenance)
    return [
        Facts(kind, _unlike(sides[0][kind], sides[1][kind]), len({**sides[0][kind], **sides[1][kind]}))
        for kind in sides[0]
    ]


def _made(provenance: Json) -> dict[str, dict[str, str]]:
    """Return what made a study, in words: by kind, then by what it is."""
    makers, results = provenance["makers"], provenance["results"]
    code = _grouped(
        (f"code of {shlex.split(result['command'])[1]}", result["code_hash"]) for result in results
    )
    packages = sorted({package for maker in makers for package in maker["versions"]})
    config = {key: value for key, value in provenance["config"].items() if key != "results"}
    return {
        "Code": {
            "commit": _together(maker["commit"] for maker in makers),
            "changes not committed": _together(_DIRTY[maker["dirty"]] for maker in makers),
        }
        | code,
        "Config": dict(_leaves(config)),
        "Data": _grouped(_data(provenance["data"])),
        "Machine": {name: _together(str(text(maker)) for maker in makers) for name, text in _MACHINE.items()},
        "Software": {
            package: _together(str(maker["versions"].get(package, ABSENT)) for maker in makers)
            for package in packages
        },
    }


def _data(described: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yield each data set's content; where its files came from is no difference."""
    for one in described:
        name = one["asked_for"]
        yield f"{name}: data used", one["used"]
        yield f"{name}: SHA-256 of the samples", one["samples_sha256"]
        for file in one["files"]:
            yield f"{name}: SHA-256 of {file['name']}", file["sha256"]


def _grouped(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return by name what it is, in words; of a study that was made in several ways, all of them."""
    found: dict[str, list[str]] = {}
    for name, text in named:
        found.setdefault(name, []).append(text)
    return {name: _together(texts) for name, texts in found.items()}


def _together(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts)))


def _unlike(first: Mapping[str, str], second: Mapping[str, str]) -> list[Fact]:
    return [
        Fact(what, first.get(what, ABSENT), second.get(what, ABSENT))
        for what in sorted({*first, *second})
        if first.get(what) != second.get(what)
    ]


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield each plain value in one of JSON by its place; experiments stand by their names, not by their order."""
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        value = {_name(one, place): one for place, one in enumerate(value)}
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _leaves(value[key], f"{where}.{key}".lstrip("."))
    else:
        yield where, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _name(one: Any, place: int) -> str:
    named = isinstance(one, Mapping) and {"dataset", "model"} <= one.keys()
    return f"{one['dataset']}/{one['model']}" if named else str(place)


def _cells(records: Sequence[Json]) -> dict[tuple[str, ...], Json]:
    """Return a study's cells by data set asked for, model and method, each with all its runs."""
    cells: dict[tuple[str, ...], Json] = {}
    for record in records:
        cell = cells.setdefault(tuple(record[name] for name in _NAMES), {**record, "runs": []})
        cell["runs"] = [*cell["runs"], *record["runs"]]
    return cells


def _compared_cells(
    tables: Tables,
    other_tables: Tables,
    cells: Mapping[tuple[str, ...], Json],
    others: Mapping[tuple[str, ...], Json],
) -> Iterator[ComparedCell]:
    """Yield each cell that both studies have; the arguments are A's and B's tables, A's and B's cells."""
    for key, cell in cells.items():
        if key in others:
            yield _compared_cell(tables["runs"], other_tables["runs"], cell, others[key])


def _compared_cell(rows: pd.DataFrame, other_rows: pd.DataFrame, cell: Json, other: Json) -> ComparedCell:
    experiment = Experiment(other["dataset"], other["data"], other["model"])
    if reason := _obstacle(cell, other):
        return ComparedCell(experiment, other["method"], reason)
    runs = _compared_runs(cell, other, _seeds(cell) & _seeds(other))
    return ComparedCell(
        experiment,
        other["method"],
        otherwise=differing(_made_with(cell), _made_with(other)),
        left_out=sorted(_seeds(cell) ^ _seeds(other)),
        runs=runs,
        differences=[
            _of_targets(one, *(side["settings"]["target_loss"] for side in (cell, other)))
            for one in _differences(rows_of(rows, cell), rows_of(other_rows, other), runs)
        ],
    )


def _obstacle(cell: Json, other: Json) -> str:
    """Return why a cell of B cannot be compared with A's, or nothing."""
    if cell["data"] != other["data"]:
        return f"other data: {cell['data']} in A, {other['data']} in B"
    if cell["samples_sha256"] != other["samples_sha256"]:
        return f"other samples of {cell['data']}"
    if split := differing(cell["split"], other["split"]):
        return f"other splits: {', '.join(map(fact_text, split))}"
    for name, one in (("A", cell), ("B", other)):
        if one["skipped"] or not one["runs"]:
            return f"not trained in {name}{': ' + one['skipped'] if one['skipped'] else ''}"
    if not _seeds(cell) & _seeds(other):
        return (
            f"other seeds: {seeds_text(sorted(_seeds(cell)))} in A, {seeds_text(sorted(_seeds(other)))} in B"
        )
    return ""


def _seeds(cell: Json) -> set[int]:
    return {run["seed"] for run in cell["runs"]}


def _made_with(cell: Json) -> Json:
    """Return what of a cell may differ between two studies that are compared; it is told beside the results."""
    return {**cell["settings"], **_model_facts(cell)}


def _model_facts(cell: Json) -> Json:
    return {name: cell[name] for name in ("kinked", "num_parameters")}


def _compared_runs(cell: Json, other: Json, seeds: set[int]) -> list[Json]:
    """Return what `verification` says of B's runs at these seeds, with A's as their reference.

    It compares what was made with the same settings: the reference takes B's, and the differences are told beside.
    """
    mine, theirs = (
        one | {"runs": [run for run in one["runs"] if run["seed"] in seeds]}
        for one in (cell | {"settings": other["settings"], **_model_facts(other)}, other)
    )
    runs: list[Json] = verified([theirs], [], {"A": reference_of([mine], [], {})})["cells"][0]["runs"]
    return runs


def _differences(first: pd.DataFrame, second: pd.DataFrame, runs: Sequence[Json]) -> list[Difference]:
    """Return how far B's runs lie from A's, rows of `runs`; where rounding explains it all, no verdict is claimed."""
    verdicts = {run["verdict"] for run in runs}
    if verdicts <= {IDENTICAL}:
        return []
    pairs = first.merge(second, on="seed", suffixes=("_first", "_second"))
    return [
        _difference(metric, pairs, only_rounding=verdicts <= {IDENTICAL, WITHIN}) for metric in QUANTITIES
    ]


def _of_targets(one: Difference, target: float, other: float) -> Difference:
    """Return a difference, without a verdict where it is of steps to another target."""
    is_other = one.metric == "steps_to_target" and target != other
    return replace(one, verdict=NOT_COMPARABLE) if is_other else one


def _difference(metric: str, pairs: pd.DataFrame, *, only_rounding: bool) -> Difference:
    scale, higher_is_better = QUANTITIES[metric]
    both = np.column_stack([_finished(pairs, metric, side) for side in ("first", "second")])
    known = both[(np.isfinite(both) & ((both > 0) | (scale == "difference"))).all(axis=1)]
    is_ratio, (values, others) = scale == "ratio", known.T
    found = (
        paired_ratio(others, values)
        if is_ratio
        else paired_difference(others, values, higher_is_better=higher_is_better)
    )
    back: Callable[[float], float] = math.exp if is_ratio else float
    unpaired = len(both) - found.num_pairs
    verdict = UNRESOLVED if unpaired else str(found.verdict)
    if np.array_equal(both[:, 0], both[:, 1], equal_nan=True):
        verdict = IDENTICAL
    elif only_rounding:
        verdict = WITHIN
    low, high = ends(found.interval)
    return Difference(
        metric,
        first=_mean(values, is_ratio),
        second=_mean(others, is_ratio),
        mean=back(found.mean),
        low=back(low),
        high=back(high),
        p_value=found.p_value,
        pairs=found.num_pairs,
        unpaired=unpaired,
        verdict=verdict,
    )


def _finished(pairs: pd.DataFrame, metric: str, side: str) -> Floats:
    """Return A's or B's number of each pair of runs, NaN of one that diverged."""
    values = pairs[f"{metric}_{side}"].to_numpy(dtype=float, na_value=math.nan)
    return np.where(pairs[f"status_{side}"] == "diverged", math.nan, values)


def _mean(values: Floats, is_ratio: bool) -> float:
    if not values.size:
        return math.nan
    return float(np.exp(np.log(values).mean()) if is_ratio else values.mean())


def _in_order(first: Study, second: Study, cells: Sequence[_Told]) -> list[_Told]:
    """Return what is told of cells in the order of a report: the smallest model first, exact gradients first."""
    places = [*experiments(second.tables), *experiments(first.tables)]
    methods = [*measured_methods(second.tables), *measured_methods(first.tables)]

    def place(cell: _Told) -> tuple[int, int]:
        known = places.index(cell.experiment) if cell.experiment in places else len(places)
        return known, methods.index(cell.method)

    return sorted(cells, key=place)


def _settings_of_steps(counts: Sequence[Json]) -> dict[tuple[str, ...], Json]:
    return {tuple(count[name] for name in KEY): count["settings"] for count in counts}


def _otherwise(key: tuple[str, ...], settings: tuple[Mapping[tuple[str, ...], Json], ...]) -> list[Fact]:
    """Return the settings in which a counted step of B is another than A's."""
    first, second = (side.get(key) for side in settings)
    return differing(first, second) if first is not None and second is not None else []


def _compared_steps(
    first: Tables, second: Tables, settings: tuple[Mapping[tuple[str, ...], Json], ...]
) -> list[ComparedStep]:
    times = [_by_step(table["step_times"], _whole_steps) for table in (first, second)]
    ratios = [_by_step(table["step_ratios"], _against_baseline) for table in (first, second)]
    found = []
    for key in dict.fromkeys([*times[0], *times[1]]):
        *experiment, method, device, engine = key
        own = ratios[0].get(key), ratios[1].get(key)
        found.append(
            ComparedStep(
                Experiment(*experiment),
                method,
                device,
                engine,
                times=(times[0].get(key), times[1].get(key)),
                ratios=own,
                otherwise=_otherwise(key[: len(KEY)], settings),
                verdict=_ratio_verdict(*own),
            )
        )
    return found


def _by_step(
    table: pd.DataFrame, chosen: Callable[[pd.DataFrame], pd.Series[bool]]
) -> dict[tuple[str, ...], Row]:
    """Return rows by their cell, device and engine."""
    rows: list[dict[Hashable, Any]] = table[chosen(table)].to_dict("records")
    return {tuple(row[name] for name in (*KEY, "device", "engine")): row for row in rows}


def _whole_steps(times: pd.DataFrame) -> pd.Series[bool]:
    return times["part"] == STEP


def _against_baseline(ratios: pd.DataFrame) -> pd.Series[bool]:
    """Return which ratios are to the step with exact gradients, on the same engine."""
    same_engine = ratios["engine"] == ratios["against_engine"]
    return same_engine & (ratios["against"] != ratios["method"]) & (ratios["against"] != FORWARD_PASS)


def _ratio_verdict(first: Row | None, second: Row | None) -> str:
    """Return whether B's ratio to its baseline is another than A's: less is better.

    Both intervals, each widened by its study's own noise floor, must lie apart.
    """
    if first is None and second is None:
        return ""
    if first is None or second is None or first["against"] != second["against"]:
        return NOT_COMPARABLE
    (low, high), (other_low, other_high) = (
        (row["low"] / row["floor"], row["high"] * row["floor"]) for row in (first, second)
    )
    if other_high < low:
        return BETTER
    return WORSE if other_low > high else UNRESOLVED


def _compared_counts(
    first: Tables, second: Tables, settings: tuple[Mapping[tuple[str, ...], Json], ...]
) -> list[ComparedCount]:
    counted, others = _counts(first["operations"]), _counts(second["operations"])
    return [
        ComparedCount(
            Experiment(*key[: len(EXPERIMENT)]),
            key[-1],
            counted.get(key),
            others.get(key),
            _otherwise(key, settings),
        )
        for key in dict.fromkeys([*counted, *others])
    ]


def _counts(rows: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """Return the operations of each step that was counted, by its cell."""
    known = rows[rows["operations"].notna()].to_dict("records")
    return {tuple(row[name] for name in KEY): int(row["operations"]) for row in known}


def _compared_claims(first: Tables, second: Tables) -> list[ComparedClaim]:
    """Return every claim as this version of fgbench judges it by either study's tables."""
    return [
        ComparedClaim(one.entry, one.judgement, other.judgement)
        for one, other in zip(judged_claims(first), judged_claims(second), strict=True)
    ]


def _num_copies(records: Sequence[Json], others: Sequence[Json]) -> int:
    made = [record["provenance"] for record in records]
    return sum(other["provenance"] in made for other in others)


_TOLD_OF_MAKING = {
    "makers": MAKER,
    "results": ("path", "command", "code_hash", "finished"),
    "data": ("asked_for", "used", "samples_sha256", "files"),
}

_NAMES = ("dataset", "model", "method")

_DIRTY = {True: "yes", False: "no", None: "not known"}

_MACHINE: dict[str, Callable[[Json], Any]] = {
    "processor": lambda maker: maker["cpu"],
    "instruction set": lambda maker: maker["instruction_set"],
    "pins": lambda maker: ", ".join(f"{name}={value}" for name, value in maker["pins"].items()) or "none",
    "math threads": lambda maker: maker["threads"],
    "operating system": lambda maker: maker["os"],
}
