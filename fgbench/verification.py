"""Runs, counted operations and references enter; whether these are reproduced leaves, by number. Never times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgbench.digests import json_sha256
from fgbench.errors import ResultError
from fgbench.provenance import MAKER
from fgbench.results import RUN_KEYS, cell_name, study_sha256
from fgbench.types import Json
from fgbench.wording import differences_text

IDENTICAL, WITHIN, DIFFERS = "identical", "within tolerance", "differs"
NOT_COMPARABLE, NOT_VERIFIED = "not comparable", "not verified"

VOLATILE = ("provenance",)
"""What no two runs of a study share, by name: it is not compared."""

LOSSES = ("train_loss", "validation_loss", "test_loss")
ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")

OPERATION_KEYS = ("dataset", "data", "model", "method", "settings", "operations")
"""What a count of operations holds: whose step it is, of which settings, and the count."""

EPSILON = 2.0**-23
"""The distance from 1 to the next float32: the greatest relative error of two roundings."""

NUM_POINTS = 9
"""Records of a curve that a reference keeps in full, evenly spaced, besides the last two."""

_MARK = 4


@dataclass(frozen=True)
class Tolerance:
    """How far a quantity may lie from its reference on another processor, in words, and why."""

    quantity: str
    tolerance: str
    reason: str


TOLERANCES = (
    Tolerance(
        "losses",
        "(8 + step) · 2⁻²³ · max(1, |loss|) + one example's share of a step, from step 1 on, if the model has kinks",
        "Another order of a sum changes a float32 by about one rounding, 2⁻²³ of its size. Each step rounds once "
        "more, and where training does not amplify differences these add up at most linearly; eight more are for "
        "the sums of the evaluation itself. And an example that lies within rounding of a ReLU's kink takes the "
        "other side, as if the batch held another example: one example's share of a step is the reference's "
        "mean fall of the training loss a step, over the batch size. A training that amplifies "
        "differences leaves this, and is then said to differ (benchmarks/numerics.py shows how far others lie).",
    ),
    Tolerance(
        "accuracies, predictions",
        "one example, or the loss's tolerance as a share of the part's examples if that is more",
        "An example whose two greatest logits lie closer than rounding may fall either way; about that share of "
        "examples lies so close.",
    ),
    Tolerance(
        "steps, steps_to_target, diverged_at_step",
        "record_every, the grain at which the target is looked at",
        "A loss within rounding of the target is seen below it one record earlier or later. Values are then "
        "compared at the last step that both runs recorded.",
    ),
    Tolerance("status, split", "none", "A run that ends otherwise, or on other examples, is another run."),
    Tolerance(
        "operations",
        "none",
        "They are counted from the shapes of a step's products, not measured: another count is another step.",
    ),
)


def reference_of(records: Sequence[Json], operations_cells: Sequence[Json], made: Json) -> Json:
    """Return what a reference keeps of a study: all that is compared, small enough to be read in a diff.

    Of each curve it keeps some records in full and of every record a mark of four hexadecimal digits, so that the
    first step at which another curve parts from it can be told; of the operations every count. `made` says what
    made it.
    """
    cells = [
        {**cell, "runs": [_kept(run) for run in cell["runs"]]}
        for cell in sorted(_cells(records), key=cell_name)
    ]
    return {"made": made, "cells": cells, "operations": sorted(operations_cells, key=cell_name)}


def verification(
    records: Sequence[Json], operations_cells: Sequence[Json], references: Mapping[str, Json]
) -> Json:
    """Compare a study's runs and counts with references, by their names; return the verdict, for each of them too.

    A cell is compared with the first reference that was made on its data, with its settings and its seeds; where
    none was, the reason stands there. `runs` counts runs by verdict; the whole is "differs" if one run does.

    A count of operations is compared with the first reference that counted the same step, and is the same or not.
    One that is not makes the whole "differs", whatever the runs say; those that are make nothing comparable.
    """
    cells = [_cell_compared(cell, references) for cell in _cells(records)]
    verdicts = [run["verdict"] for cell in cells for run in cell["runs"]]
    operations = _operations_compared(operations_cells, references)
    decisive = DIFFERS if operations["differing"] else _worst(verdicts)
    used = {one["reference"] for one in (*cells, *operations["differing"])} & set(references)
    return {
        "verdict": decisive if references else NOT_VERIFIED,
        "runs": {verdict: verdicts.count(verdict) for verdict in _ORDER},
        "operations": operations,
        "cells": cells,
        "references": [
            {"name": name, "sha256": json_sha256(reference), "made": reference["made"]}
            for name, reference in references.items()
        ],
        "absent": _absent(cells, references),
        "made_otherwise": _made_otherwise(records, {name: references[name] for name in sorted(used)}),
        "study_sha256": study_sha256(records),
    }


def agreed_reference(
    first: tuple[str, Sequence[Json], Sequence[Json]],
    second: tuple[str, Sequence[Json], Sequence[Json]],
    made: Json,
) -> Json:
    """Return the reference of a study that ran twice: of both a name, for messages, the records and the counts.

    Raises ResultError where the two are copies of one run, or do not agree in every bit of every run and in every
    count of operations.
    """
    (name, records, counts), (other_name, again, counts_again) = first, second
    if any(one["provenance"] == other["provenance"] for one, other in zip(records, again, strict=False)):
        raise ResultError(
            f"{name} and {other_name} hold copies of the same run; two independent runs are needed "
            "(`make reference` makes them)."
        )
    provenances = [record["provenance"] for record in (*records, *again)]
    reference = reference_of(
        records,
        counts,
        {
            **{key: made[key] for key in ("command", "finished", "config_sha256")},
            "makers": _distinct([{key: one[key] for key in MAKER} for one in provenances]),
            "data": _distinct([_without_origins(data) for one in provenances for data in one["data"]]),
        },
    )
    found = verification(again, counts_again, {name: reference})
    complaints = [
        f"{cell_name(cell)}, {cell['reason'] or 'its runs differ'}"
        for cell in found["cells"]
        if any(run["verdict"] != IDENTICAL for run in cell["runs"])
    ]
    complaints += [f"{absent} is missing" for absent in found["absent"]]
    complaints += _other_counts(found["operations"], name, counts, counts_again)
    if complaints:
        raise ResultError(
            f"{other_name} does not reproduce {name}, so neither can be a reference: {complaints[0]} "
            "(`fgbench verify` tells more)."
        )
    return reference


def require_reference(reference: Json) -> None:
    """Refuse what is no reference, or one that another version of fgbench wrote.

    Raises ResultError.
    """
    try:
        for cell in reference["cells"]:
            _ = [cell[key] for key in RUN_KEYS if key not in VOLATILE]
            _ = [run[key] for run in cell["runs"] for key in _KEPT]
        _ = [count[key] for count in reference["operations"] for key in OPERATION_KEYS]
    except (KeyError, TypeError) as error:
        raise ResultError(
            f"is no reference that this version of fgbench can read: {error} is missing"
        ) from None


def exit_status(verdict: str) -> int:
    """Return the status that `fgbench verify` ends with: 0 if reproduced, 1 if not, 2 if nothing was compared."""
    return {IDENTICAL: 0, WITHIN: 0, DIFFERS: 1}.get(verdict, 2)


def loss_tolerance(step: int, loss: float, share: float) -> float:
    """Return how far a loss may lie from `loss` after `step` steps, nats; `TOLERANCES` says why.

    `share` is one example's of a step, nats.

    >>> loss_tolerance(0, 0.5, 0.001) == 8 * 2**-23
    True
    """
    return (8 + step) * EPSILON * max(1.0, abs(loss)) + (share if step else 0.0)


def example_share(curve: Json, batch_size: int) -> float:
    """Return one example's share of a step: the mean fall of the training loss a step, over the batch.

    It is 0 where the loss did not fall, or is not finite at an end.

    >>> example_share({"step": [0, 10, 20], "train_loss": [2.0, 1.5, 1.0]}, 50)
    0.001
    """
    first, last, num_steps = curve["train_loss"][0], curve["train_loss"][-1], curve["step"][-1]
    if first is None or last is None or not num_steps:
        return 0.0
    return float(max(first - last, 0.0) / num_steps / batch_size)


_ARITHMETIC = ("versions", "pins", "threads")

_KEPT = (
    "seed",
    "sha256",
    "status",
    "steps",
    "steps_to_target",
    "diverged_at_step",
    "curve",
    "marks",
    "predicted",
    "tested_sha256",
)

_ORDER = (IDENTICAL, WITHIN, DIFFERS, NOT_COMPARABLE)


def _worst(verdicts: Sequence[str]) -> str:
    """Return the worst verdict there is; what cannot be compared decides only if nothing can."""
    compared = [verdict for verdict in verdicts if verdict != NOT_COMPARABLE]
    return max(compared, key=_ORDER.index) if compared else NOT_COMPARABLE


def _without_origins(data: Json) -> Json:
    """Return a data set's files by name and content: where one machine had them from is no matter of others."""
    files = [{key: value for key, value in file.items() if key != "origin"} for file in data["files"]]
    return data | {"files": files}


def _distinct(values: Sequence[Json]) -> list[Json]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _cells(records: Sequence[Json]) -> list[Json]:
    """Return records without what is volatile, those of a cell as one, its runs by seed."""
    cells: dict[str, Json] = {}
    for record in records:
        kept = {key: value for key, value in record.items() if key not in VOLATILE}
        cell = cells.setdefault(cell_name(record), {**kept, "runs": []})
        if complaint := differences_text(kept | {"runs": []}, cell | {"runs": []}):
            raise ResultError(f"{cell_name(record)}: its records do not belong together: {complaint}.")
        cell["runs"] = sorted([*cell["runs"], *record["runs"]], key=lambda run: int(run["seed"]))
    return list(cells.values())


def _absent(cells: Sequence[Json], references: Mapping[str, Json]) -> list[str]:
    """Return the cells that references hold and the study lacks; of those references that were used, if one was."""
    used = {cell["reference"] for cell in cells} & set(references) or set(references)
    here = {(cell[key], cell["model"], cell["method"]) for cell in cells for key in ("dataset", "data")}
    held = [known for name, reference in references.items() if name in used for known in reference["cells"]]
    return sorted(
        cell_name(known)
        for known in held
        if not here & {(known[key], known["model"], known["method"]) for key in ("dataset", "data")}
    )


def _made_otherwise(records: Sequence[Json], used: Mapping[str, Json]) -> list[str]:
    """Return in what software and arithmetic the study was made otherwise than the references it is compared with."""
    made = [{key: record["provenance"][key] for key in _ARITHMETIC} for record in records]
    return [
        f"{name}: {complaint}"
        for name, reference in used.items()
        for maker in reference["made"].get("makers", [])[:1]
        for here in _distinct(made)
        if (complaint := differences_text(here, {key: maker[key] for key in _ARITHMETIC}))
    ]


def _kept(run: Json) -> Json:
    steps = run["curve"]["step"]
    last = len(steps) - 1
    places = sorted(
        {round(last * part / (NUM_POINTS - 1)) for part in range(NUM_POINTS)} | {max(last - 1, 0)}
    )
    return {
        "seed": run["seed"],
        "sha256": json_sha256(run),
        "status": run["status"],
        "steps": run["steps"],
        "steps_to_target": run["steps_to_target"],
        "diverged_at_step": run["diverged_at_step"],
        "curve": {name: [values[place] for place in places] for name, values in run["curve"].items()},
        "marks": _marks(run["curve"]),
        "predicted": run["predictions"]["predicted"],
        "tested_sha256": _tested_sha256(run),
    }


def _marks(curve: Json) -> str:
    names = sorted(curve)
    return "".join(
        json_sha256(record)[:_MARK] for record in zip(*(curve[name] for name in names), strict=True)
    )


def _tested_sha256(run: Json) -> str:
    return json_sha256([run["predictions"]["id"], run["predictions"]["label"]])


def _cell_compared(cell: Json, references: Mapping[str, Json]) -> Json:
    identity = {key: cell[key] for key in ("dataset", "data", "model", "method")}
    reasons = []
    for source, reference in references.items():
        known = _known(cell, reference)
        reason = f"{source} does not hold it" if known is None else _obstacle(cell, known, source)
        if known is not None and reason is None:
            runs = [
                _run_compared(run, one, cell) for run, one in zip(cell["runs"], known["runs"], strict=True)
            ]
            return {**identity, "reference": source, "reason": None, "runs": runs}
        reasons.append(str(reason))
    runs = [{"seed": run["seed"], "verdict": NOT_COMPARABLE} for run in cell["runs"]]
    reason = "; ".join(reasons) or "no reference was named"
    return {**identity, "reference": None, "reason": reason, "runs": runs}


def _known(cell: Json, reference: Json) -> Json | None:
    """Return a reference's cell of the same name; on other data than there, one on the same data before it."""
    for keys in (("dataset", "data"), ("data",), ("dataset",)):
        for known in reference["cells"]:
            if all(known[name] == cell[name] for name in (*keys, "model", "method")):
                return known  # type: ignore[no-any-return]
    return None


def _obstacle(cell: Json, known: Json, source: str) -> str | None:
    """Return why a cell cannot be compared with its reference, or None."""
    if cell["data"] != known["data"]:
        return f"{source} was made on {known['data']}, this study on {cell['data']}"
    here, there = (
        {key: value for key, value in one.items() if key not in ("runs", "data", "dataset")}
        | {"seeds": [run["seed"] for run in one["runs"]]}
        for one in (cell, known)
    )
    if here["samples_sha256"] != there["samples_sha256"]:
        return f"{source} was made on other samples of {cell['data']}"
    complaint = differences_text(here, there)
    return f"other than in {source}, {complaint}" if complaint else None


def _operations_compared(counts: Sequence[Json], references: Mapping[str, Json]) -> Json:
    """Compare counts of operations with references: which are others, and which no reference holds."""
    compared = [(count, *_known_count(count, references)) for count in counts]
    known = [one for one in compared if one[1] is not None]
    differing = [
        {"cell": cell_name(count), "reference": name, "here": count["operations"], "there": there}
        for count, name, there in known
        if count["operations"] != there
    ]
    verdicts = len(differing) * [DIFFERS] + (len(known) - len(differing)) * [IDENTICAL]
    return {
        "verdict": _worst(verdicts) if references else NOT_VERIFIED,
        "compared": len(known),
        "identical": verdicts.count(IDENTICAL),
        "differing": differing,
        "not_comparable": [cell_name(count) for count, name, _ in compared if name is None],
    }


def _known_count(count: Json, references: Mapping[str, Json]) -> tuple[str | None, int | None]:
    """Return the first reference that counted the same step on the same data, and its count: of the same name first."""
    step = ("data", "model", "method", "settings")
    for name, reference in references.items():
        known = [one for one in reference["operations"] if all(one[key] == count[key] for key in step)]
        if known:
            nearest = min(known, key=lambda one: one["dataset"] != count["dataset"])
            return name, nearest["operations"]
    return None, None


def _other_counts(
    found: Json, name: str, counts: Sequence[Json], counts_again: Sequence[Json]
) -> Iterator[str]:
    """Yield what keeps two runs' counts from being the same; `found` compares the second's with the first's."""
    for one in found["differing"]:
        yield f"{one['cell']}, its step has {one['here']} operations instead of {one['there']}"
    for cell in found["not_comparable"]:
        yield f"{cell}, {name} holds no count of its step's operations"
    for cell in sorted({cell_name(count) for count in counts} - {cell_name(count) for count in counts_again}):
        yield f"the count of {cell}'s operations is missing"


def _run_compared(run: Json, known: Json, cell: Json) -> Json:
    if json_sha256(run) == known["sha256"]:
        return {"seed": run["seed"], "verdict": IDENTICAL}
    quantities = list(_quantities(run, known, cell))
    return {
        "seed": run["seed"],
        "verdict": max([WITHIN, *(one["verdict"] for one in quantities)], key=_ORDER.index),
        "parts_at_step": _parting(run["curve"], known["marks"]),
        "quantities": quantities,
    }


def _parting(curve: Json, marks: str) -> int | None:
    """Return the first step at which a curve is not the one of these marks, or None."""
    here = _marks(curve)
    for place, step in enumerate(curve["step"]):
        span = slice(_MARK * place, _MARK * (place + 1))
        if here[span] != marks[span]:
            return int(step)
    return None if len(here) == len(marks) else int(curve["step"][-1])


def _quantities(run: Json, known: Json, cell: Json) -> Iterator[Json]:
    grain = cell["settings"]["record_every"]
    end = run["steps"]
    same_examples = _tested_sha256(run) == known["tested_sha256"]
    share = example_share(known["curve"], cell["settings"]["batch_size"]) if cell["kinked"] else 0.0
    yield _quantity("status", end, run["status"], known["status"], None)
    yield _quantity("split", 0, _tested_sha256(run), known["tested_sha256"], None)
    for name in ("steps", "steps_to_target", "diverged_at_step"):
        yield _quantity(name, end, run[name], known[name], grain)
    yield from _worst_records(run["curve"], known["curve"], _part_sizes(cell["split"]), share)
    if same_examples and end == known["steps"]:
        predicted = run["predictions"]["predicted"]
        changed = sum(here != there for here, there in zip(predicted, known["predicted"], strict=True))
        loss = run["curve"]["test_loss"][-1]
        allowed = len(predicted) * _accuracy_tolerance(
            len(predicted), loss_tolerance(end, loss or 0.0, share)
        )
        yield _quantity("predictions that changed", end, changed, 0, allowed)


def _worst_records(curve: Json, known: Json, sizes: Mapping[str, int], share: float) -> Iterator[Json]:
    """Yield each loss and accuracy at the one recorded step, of those both have, where it lies farthest off."""
    places = {step: place for place, step in enumerate(curve["step"])}
    common = [(step, places[step], there) for there, step in enumerate(known["step"]) if step in places]
    for name in (*LOSSES, *ACCURACIES):
        found = [
            _quantity(
                name,
                step,
                curve[name][here],
                known[name][there],
                _allowed(name, loss_tolerance(step, known[_loss_of(name)][there] or 0.0, share), sizes),
            )
            for step, here, there in common
        ]
        if found:
            yield max(found, key=_excess)


def _allowed(name: str, of_loss: float, sizes: Mapping[str, int]) -> float:
    return of_loss if name in LOSSES else _accuracy_tolerance(sizes[name.removesuffix("_accuracy")], of_loss)


def _accuracy_tolerance(num_examples: int, of_loss: float) -> float:
    """Return which share of a part's examples may be classified otherwise, where the loss may be `of_loss` off."""
    return max(1 / num_examples, of_loss)


def _loss_of(name: str) -> str:
    return f"{name.partition('_')[0]}_loss"


def _part_sizes(split: Json) -> dict[str, int]:
    num_validation = round(split["num_train"] * split["validation_fraction"])
    return {
        "train": split["num_train"] - num_validation,
        "validation": num_validation,
        "test": split["num_test"],
    }


def _quantity(name: str, step: int, here: Any, reference: Any, tolerance: float | None) -> Json:
    found = {"quantity": name, "step": step, "here": here, "reference": reference, "tolerance": tolerance}
    excess = _excess(found)
    return found | {"verdict": IDENTICAL if excess == 0 else WITHIN if excess <= 1 else DIFFERS}


def _excess(found: Json) -> float:
    """Return how far a number lies from its reference, as a multiple of what is allowed."""
    here, reference, tolerance = found["here"], found["reference"], found["tolerance"]
    if here == reference:
        return 0.0
    if tolerance is None or here is None or reference is None:
        return math.inf
    # A difference of two fractions k/n is itself rounded: allow its last digits.
    return float(abs(here - reference) / tolerance * (1 - 1e-9))
