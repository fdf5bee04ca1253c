"""What `verification` returned goes in; whether a study reproduces its references, in words, comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgbench.types import Json
from fgbench.verification import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN
from fgbench.wording import ABSENT, count_text, counted, joined


def verdict_text(verification: Json) -> str:
    """Return in words whether a study reproduces its references, and how many of its runs and its counts do."""
    if not verification["references"]:
        return "Not verified: the config names no reference to compare with."
    counts = verification["runs"]
    compared = (*verification["cells"], *verification["operations"]["differing"])
    used = dict.fromkeys(one["reference"] for one in compared if one["reference"])
    named = [*used] or [one["name"] for one in verification["references"]]
    references = f"the reference{'' if len(named) == 1 else 's'} {joined(named)}"
    operations = _operations_text(verification["operations"])
    if verification["verdict"] not in _VERDICTS:
        num_runs = counted(sum(counts.values()), "run")
        return f"Not verified: none of {num_runs} can be compared with {references}.{operations}"
    return f"{_VERDICTS[verification['verdict']].format(references)}: {_runs_text(counts)}.{operations}"


def verdict_lines(verification: Json) -> list[str]:
    """Return the verdict, then a line for each cell that cannot be compared and each run or count that is another."""
    lines = [verdict_text(verification)]
    if verification["verdict"] in (WITHIN, DIFFERS):
        lines.append(f"  {why_text(verification)}")
    if absent := verification["absent"]:
        lines.append(f"  not in this study, but in its references: {', '.join(absent)}")
    for cell in verification["cells"]:
        name = f"{cell['dataset']}/{cell['model']}/{cell['method']}"
        if cell["reason"] and verification["references"]:
            lines.append(f"  {name}: not comparable: {cell['reason']}")
        lines += [
            f"  {name} seed {run['seed']}: {difference_text(run)}"
            for run in cell["runs"]
            if run.get("quantities")
        ]
    operations = verification["operations"]
    lines += [f"  {one['cell']}: {count_difference_text(one)}" for one in operations["differing"]]
    if (open_ones := operations["not_comparable"]) and verification["references"]:
        lines.append(f"  counted operations that no reference holds: {', '.join(open_ones)}")
    return lines


def count_difference_text(found: Json) -> str:
    """Return of a count of operations that is not its reference's both values, to the last digit.

    >>> count_difference_text({"here": 1200, "there": 1800, "reference": "references/mine.json"})
    '1,200 operations a step, 1,800 in references/mine.json'
    """
    return f"{found['here']:,} operations a step, {found['there']:,} in {found['reference']}"


def why_text(verification: Json) -> str:
    """Return what may have made runs come out otherwise: other software, another arithmetic, or neither."""
    if otherwise := verification["made_otherwise"]:
        return f"Made otherwise than its reference, which may be why: {'; '.join(otherwise)}."
    return "Made with its reference's software and arithmetic: the code, or this processor, makes the difference."


def difference_text(run: Json) -> str:
    """Return of a run that is not identical where its curves part, and each number that is not the reference's."""
    parted = run["parts_at_step"]
    start = (
        "no curve parts from its reference" if parted is None else f"curves part at step {count_text(parted)}"
    )
    numbers = [_number_text(one) for one in run["quantities"] if one["verdict"] != IDENTICAL]
    return f"{run['verdict']}; {'; '.join([start, *numbers])}."


def pair_texts(here: Any, reference: Any) -> tuple[str, str]:
    """Return two values as far as they must be written to be told apart.

    >>> pair_texts(0.1756258457899, 0.1756268203258), pair_texts(0.5, 0.5 + 1e-15), pair_texts(None, 40)
    (('0.175625846', '0.17562682'), ('0.5', '0.500000000000001'), ('–', '40'))
    """
    for digits in (9, 15, 17):
        texts = _value(here, digits), _value(reference, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _runs_text(counts: Mapping[str, int]) -> str:
    """Return how many runs are their reference's, of those that can be compared; `counts` are by verdict."""
    num_open, num_runs = counts[NOT_COMPARABLE], sum(counts.values())
    if num_open == num_runs:
        return f"none of {counted(num_runs, 'run')} can be compared"
    found = [
        f"{counts[IDENTICAL]} of {counted(num_runs - num_open, 'run')} identical",
        *(f"{counts[verdict]} {word}" for verdict, word in _OTHERWISE.items() if counts[verdict]),
    ]
    return joined(found) + (f"; {num_open} more cannot be compared" if num_open else "")


def _operations_text(found: Json) -> str:
    """Return a sentence on the counted operations, after a space, or nothing where none were counted."""
    num_compared, num_open = found["compared"], len(found["not_comparable"])
    if not num_compared:
        return f" Counted operations: none of {num_open:,} can be compared." if num_open else ""
    other = f" and {len(found['differing']):,} different" if found["differing"] else ""
    rest = f"; {num_open:,} more cannot be compared" if num_open else ""
    return f" Counted operations: {found['identical']:,} of {num_compared:,} identical{other}{rest}."


def _number_text(found: Json) -> str:
    here, reference = pair_texts(found["here"], found["reference"])
    allowed = "" if found["tolerance"] is None else f" (allowed: {found['tolerance']:.2g} off)"
    return f"{found['quantity']} {here} instead of {reference} at step {found['step']}{allowed}"


def _value(value: Any, digits: int = 9) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, str) and len(value) > 24:
        return f"{value[:12]}…"
    return ABSENT if value is None else str(value)


_OTHERWISE = {WITHIN: "within tolerance", DIFFERS: "different"}
_VERDICTS = {
    IDENTICAL: "Reproduces {}",
    WITHIN: "Agrees with {} within tolerance",
    DIFFERS: "Does not reproduce {}",
}
