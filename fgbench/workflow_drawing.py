"""What made a study's results enters; the workflow leaves, as it is drawn: each step with what it made and took."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fgbench.pieces import Source, Table, words
from fgbench.types import Json
from fgbench.wording import ABSENT, counted, joined


@dataclass(frozen=True)
class Step:
    """A rule of the workflow: what its results are called, the rules whose results it takes."""

    rule: str
    title: str
    inputs: tuple[str, ...] = ()


STEPS = (
    Step("data", "Data"),
    Step("split", "Splits", ("data",)),
    Step("tune", "Tuned rates", ("data", "split")),
    Step("train", "Runs", ("data", "split", "tune")),
    Step("probe", "Estimates along training", ("data", "split", "tune", "train")),
    Step("laws", "Laws", ("data", "split", "tune")),
    Step("operations", "Counted operations", ("data",)),
    Step("cost", "Cost of a step", ("data",)),
    Step("scaling", "Scaling"),
    Step("tables", "Tables", ("tune", "train", "probe", "laws", "operations", "cost", "scaling")),
    Step("verify", "Comparison with references", ("train", "operations")),
    Step("report", "This page", ("data", "tables", "verify")),
)
"""Every step of the workflow, each after those whose results it takes; of a study that tunes, probes and tests laws."""


@dataclass(frozen=True)
class Box:
    """A step as it is drawn: what it made, whose results it took, and the lines that run beside it.

    `lines` and `arrow` are paths in a frame that is `Workflow.width` wide and 100 high: the box stands to its right.
    """

    rule: str
    title: str
    made: str
    sources: str
    lines: str
    arrow: str


@dataclass(frozen=True)
class Workflow:
    """A study's workflow: what is found in it, and its steps from above."""

    title: str
    caption: str
    boxes: Sequence[Box]
    width: int
    table: Table
    sources: Sequence[Source] = ()


def workflow(provenance: Json, *, num_tables: int) -> Workflow:
    """Return the workflow of the study that `study_provenance` describes, without the steps that it did not do."""
    made = _made(provenance["results"], len(provenance["data"]), num_tables)
    titles = {step.rule: step.title for step in STEPS}
    inputs = {
        step.rule: [source for source in step.inputs if source in made] for step in STEPS if step.rule in made
    }
    lanes = _lanes(inputs)
    width = _LANE * max(lanes.values(), default=0) + _ARROW + 2
    boxes = [
        Box(
            rule,
            titles[rule],
            made[rule],
            joined([titles[source].lower() for source in sources]) if sources else "",
            _lines(rule, inputs, lanes, width),
            f"M{width} {_IN}l-8 -9v18z" if sources else "",
        )
        for rule, sources in inputs.items()
    ]
    rows = [[box.rule, box.title, box.made, box.sources or ABSENT] for box in boxes]
    table = Table("What each rule of the workflow made in this study, and from what", _COLUMNS, rows)
    return Workflow("The workflow", _caption(provenance["results"], num_tables), boxes, width, table)


def told(inputs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return by step those of its sources from which no longer way leads to it too.

    >>> told({"data": [], "split": ["data"], "train": ["data", "split"]})
    {'data': [], 'split': ['data'], 'train': ['split']}
    """
    before: dict[str, set[str]] = {}
    for step, sources in inputs.items():
        before[step] = {*sources}.union(*(before[source] for source in sources))
    return {
        step: [source for source in sources if not any(source in before[other] for other in sources)]
        for step, sources in inputs.items()
    }


def _made(results: Sequence[Json], num_datasets: int, num_tables: int) -> dict[str, str]:
    """Return by step what it made: of what a study keeps no provenance, what the commands of the others name."""
    commands = [shlex.split(result["command"]) for result in results]
    counts = Counter(command[1] for command in commands)
    num_runs, _ = _runs(results)
    more = {"train": f", {counted(num_runs, 'run')}", "tables": f", {counted(num_tables, 'table')}"}
    made = {rule: f"{counted(number, 'result')}{more.get(rule, '')}" for rule, number in counts.items()}
    num_splits = len({file for command in commands for file in _files_after("--splits", command)})
    made["data"] = counted(num_datasets, "data set")
    if made.keys() & {step.rule for step in STEPS if "split" in step.inputs}:
        made["split"] = counted(num_splits, "file") if num_splits else ""
    return made | {"verify": "1 verdict", "report": "1 page"}


def _files_after(option: str, command: Sequence[str]) -> Sequence[str]:
    """Return the values of an option in a command."""
    if option not in command:
        return []
    values = command[command.index(option) + 1 :]
    end = next((place for place, value in enumerate(values) if value.startswith("--")), len(values))
    return values[:end]


def _runs(results: Sequence[Json]) -> tuple[int, int]:
    """Return how many runs were trained, of how many cells."""
    trained = [result for result in results if shlex.split(result["command"])[1] == "train"]
    cells = {result["path"].rpartition("/")[0] for result in trained}
    return sum(len(result["seeds"] or ()) for result in trained), len(cells)


def _caption(results: Sequence[Json], num_tables: int) -> str:
    commands = Counter(shlex.split(result["command"])[1] for result in results)
    others = commands.total() - commands["train"] - commands["tables"]
    num_runs, num_cells = _runs(results)
    also = f" and {counted(others, 'other result')}" if others else ""
    return (
        f"{counted(num_runs, 'run')} of {counted(num_cells, 'cell')}{also} feed {counted(num_tables, 'table')}, and "
        "these this page. An arrow leads to a step from one whose results it takes; where a longer way leads there "
        "too, it is not drawn."
    )


def _lanes(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the lane, from 0 beside the boxes, of each step whose results are taken: long ways run outside."""
    rows = {step: row for row, step in enumerate(inputs)}
    ends = {source: rows[step] for step, sources in told(inputs).items() for source in sources}
    lanes: dict[str, int] = {}
    for source in sorted(ends, key=lambda one: (ends[one] - rows[one], rows[one])):
        taken = {
            lane for other, lane in lanes.items() if rows[source] < ends[other] and rows[other] < ends[source]
        }
        lanes[source] = next(lane for lane in range(len(inputs)) if lane not in taken)
    return lanes


def _lines(step: str, inputs: Mapping[str, Sequence[str]], lanes: Mapping[str, int], width: int) -> str:
    """Return the lines that run beside a step's box: on past it, into it, and out of it."""
    drawn, order = told(inputs), [*inputs]
    parts = []
    for source, lane in lanes.items():
        row = order.index(step) - order.index(source)
        last = max(order.index(one) for one, sources in drawn.items() if source in sources)
        left = order.index(step) - last
        across = width - _ARROW - _LANE * lane
        if row == 0:
            parts.append(f"M{width} {_OUT}H{across + 6}Q{across} {_OUT} {across} {_OUT + 10}V{_END}")
        if row > 0 and left < 0:
            parts.append(f"M{across} 0V{_END}")
        if row > 0 and source in drawn[step]:
            parts.append(f"M{across} 0V{_IN - 10}Q{across} {_IN} {across + 6} {_IN}H{width - 6}")
    return "".join(parts)


_COLUMNS = words("Rule", "What it makes", "Made here", "Takes")
_LANE = 12
_ARROW = 20
_IN, _OUT, _END = 35, 70, 102
"""Where lines come in, go out, and end: a little below the frame, lest there be gaps between two."""
