"""Tables go in; the sentences come out that say how steps, passes, operations and seconds tell different stories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

import numpy as np

from fgbench.axes import AXES, Axis, known_axes
from fgbench.findings import MOST_TOLD, Experiment, Row, Tables, comparison_text, experiments, methods
from fgbench.statistics import Floats
from fgbench.wording import counted, interval_text, joined, number_text, ratio_text

Arrivals: TypeAlias = Mapping[Axis, Mapping[str, Floats]]
"""By axis and method: what each run spent to the target, a miss as ∞, where it is known what a step spends."""


def trained(tables: Tables, experiment: Experiment) -> dict[str, Row]:
    """Return the row of `summary` of each method with runs in an experiment, in the report's order."""
    rows = {row["method"]: row for row in experiment.rows(tables["summary"]).to_dict("records")}
    return {method: rows[method] for method in methods(tables) if method in rows and rows[method]["runs"]}


def arrivals(tables: Tables, experiment: Experiment) -> Arrivals:
    """Return what each run of an experiment spent to the target, along each axis that is known."""
    runs, cells = experiment.rows(tables["runs"]), trained(tables, experiment)
    own = {method: runs[runs["method"] == method] for method in cells}
    return {
        axis: {
            method: axis.to_target(own[method], cell)
            for method, cell in cells.items()
            if math.isfinite(axis.of_step(cell))
        }
        for axis in known_axes(experiment.rows(tables["summary"]))
    }


def axes_sentences(tables: Tables, experiment: Experiment) -> list[str]:
    """Return how the axes differ in an experiment: each method's multiples, the verdicts, the order of the medians."""
    compared = _complete(tables, experiment)
    few = compared if len(compared) <= MOST_TOLD else {}
    return [
        *(_spent_sentence(method, rows) for method, rows in few.items()),
        *_verdict_sentences(compared),
        *_order_sentences(arrivals(tables, experiment)),
    ]


def axes_overview(tables: Tables) -> list[str]:
    """Return in how many experiments the axes tell different stories: of a verdict, or of the order of medians."""
    found = [
        one for one in experiments(tables) if len(arrivals(tables, one)) > 1 and len(trained(tables, one)) > 1
    ]
    if not found:
        return []
    titles = joined([axis.title for axis in known_axes(tables["summary"])])
    number = counted(len(found), "experiment")
    split = [one.title for one in found if _is_split(tables, one)]
    if split:
        where = f" ({joined(split)})" if len(split) <= MOST_TOLD else ""
        return [
            f"{titles.capitalize()} tell different stories in {len(split)} of {number}{where}: which method is ahead, "
            "or whether a difference is resolved, hangs on what is counted."
        ]
    return [
        f"{titles.capitalize()} give the same verdicts and the same order of methods in "
        f"{'the experiment' if len(found) == 1 else f'all {number}'}; how far apart the methods are hangs on what is "
        "counted."
    ]


def tail_sentences(tables: Tables, experiment: Experiment) -> list[str]:
    """Return for each method whose runs are heavy-tailed what the interquartile mean over all of them is."""
    return [_tail_sentence(cell) for cell in trained(tables, experiment).values() if cell["heavy_tailed"]]


def pooled_sentences(tables: Tables) -> list[str]:
    """Return what all runs of each method take to the target, as multiples of the baseline's median."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in tables["pooled"].to_dict("records"):
        if row["method"] != row["baseline"]:
            found.setdefault((row["method"], row["baseline"]), {})[row["axis"]] = row
    return [_pooled_sentence(rows) for rows in found.values()] if len(found) <= MOST_TOLD else []


def multiple_text(row: Row) -> str:
    """Return the interquartile mean of a row of `pooled` with its interval, an end of which may be infinite."""
    if math.isinf(row["high"]) and math.isfinite(row["low"]):
        return f"{ratio_text(row['iqm'])} [{number_text(row['low'])}, ∞]"
    return ratio_text(row["iqm"], row["low"], row["high"])


def iqm_text(cell: Row, metric: str) -> str:
    """Return the interquartile mean of a cell's metric with its interval, an end of which may be infinite."""
    value, low, high = (cell[f"{metric}_iqm{end}"] for end in ("", "_low", "_high"))
    if math.isinf(high):
        return f"{number_text(value)} [{number_text(low)}, ∞]" if math.isfinite(low) else number_text(value)
    return interval_text(value, low, high)


def _complete(tables: Tables, experiment: Experiment) -> dict[str, dict[Axis, Row]]:
    """Return by method and axis the comparisons with the baseline of which no pair is missing."""
    rows = experiment.rows(tables["comparisons"]).to_dict("records")
    complete = {(row["method"], row["metric"]): row for row in rows if row["pairs"] and not row["unpaired"]}
    found: dict[str, dict[Axis, Row]] = {}
    for method in methods(tables):
        for axis in AXES:
            if row := complete.get((method, axis.metric)):
                found.setdefault(method, {})[axis] = row
    return found


def _spent_sentence(method: str, rows: Mapping[Axis, Row]) -> str:
    together: dict[str, list[str]] = {}
    for axis, row in rows.items():
        together.setdefault(comparison_text(row), []).append(axis.title)
    said = [f"{text} the {joined(titles)}" for text, titles in together.items()]
    baseline = next(iter(rows.values()))["baseline"]
    return f"To the target {method} takes {', '.join(said)} of {baseline}."


def _verdict_sentences(compared: Mapping[str, Mapping[Axis, Row]]) -> list[str]:
    """Return on which methods the axes disagree, and on which they agree."""
    sentences, agreed = [], dict[tuple[str, str, int], list[str]]()
    for method, rows in compared.items():
        baseline = next(iter(rows.values()))["baseline"]
        by_verdict: dict[str, list[str]] = {}
        for axis, row in rows.items():
            by_verdict.setdefault(row["verdict"], []).append(axis.title)
        if len(by_verdict) > 1:
            said = joined([f"{verdict} by {joined(titles)}" for verdict, titles in by_verdict.items()])
            sentences.append(f"The axes disagree: against {baseline}, {method} is {said}.")
        elif len(rows) > 1:
            agreed.setdefault((baseline, next(iter(by_verdict)), len(rows)), []).append(method)
    return sentences + [
        f"Against {baseline}, {_names_text(names, len(compared))} {verdict} along {_all_text(number)}."
        for (baseline, verdict, number), names in agreed.items()
    ]


def _names_text(names: Sequence[str], number: int) -> str:
    """Return some of a number of methods with their verb."""
    if len(names) > MOST_TOLD:
        return f"{'all' if len(names) == number else 'the other'} {len(names)} methods are"
    return f"{joined(names)} {'is' if len(names) == 1 else 'are'}"


def _all_text(number: int) -> str:
    every = {2: "both", 3: "all three", 4: "all four"}[number]
    return f"{every} axes" if number == len(AXES) else f"{every} axes that are known"


def _is_split(tables: Tables, experiment: Experiment) -> bool:
    verdicts = [{row["verdict"] for row in rows.values()} for rows in _complete(tables, experiment).values()]
    return any(len(one) > 1 for one in verdicts) or len(_orders(arrivals(tables, experiment))) > 1


def _orders(found: Arrivals) -> dict[tuple[str, ...], list[str]]:
    """Return the orders in which the methods' medians reach the target, each with the axes by which they do so."""
    shared = [method for method in next(iter(found.values())) if all(method in one for one in found.values())]
    medians = {
        axis: {method: float(np.median(by_method[method])) for method in shared}
        for axis, by_method in found.items()
    }
    reached = [method for method in shared if all(math.isfinite(one[method]) for one in medians.values())]
    titles: dict[tuple[str, ...], list[str]] = {}
    for axis, by_method in medians.items():
        titles.setdefault(tuple(sorted(reached, key=by_method.__getitem__)), []).append(axis.title)
    return titles


def _order_sentences(found: Arrivals) -> list[str]:
    """Return in which order the methods' medians reach the target by each axis, and what changes between them."""
    titles = _orders(found)
    reached = next(iter(titles))
    if len(reached) < 2 or len(found) < 2:
        return []
    if len(titles) == 1:
        return [
            f"The medians come in the same order along {_all_text(len(found))}: {_first(next(iter(titles)))}."
        ]
    if len(reached) > MOST_TOLD + 1:
        return [f"The axes order the medians differently: {_swaps_text(titles)}."]
    said = [f"by {joined(names)} {', '.join(order)}" for order, names in titles.items()]
    return [f"The axes order the medians differently: {'; '.join(said)}."]


def _first(order: Sequence[str]) -> str:
    """Return the first few of an order."""
    return ", ".join(order[:MOST_TOLD]) + ("…" if len(order) > MOST_TOLD else "")


def _swaps_text(titles: Mapping[tuple[str, ...], list[str]]) -> str:
    """Return how many pairs of methods change places between these orders, each with its axes, and who moves most."""
    orders = list(titles)
    pairs = list(combinations(sorted(orders[0]), 2))
    sides = [{order.index(one) < order.index(other) for order in orders} for one, other in pairs]
    swapped = sum(len(side) > 1 for side in sides)
    places = {method: [order.index(method) + 1 for order in orders] for method in orders[0]}
    most = max(places, key=lambda method: max(places[method]) - min(places[method]))
    moves = [
        f"place {place} by {joined(titles[order])}" for order, place in zip(orders, places[most], strict=True)
    ]
    return (
        f"{swapped} of {counted(len(pairs), 'pair')} of methods change places; {most} moves most, "
        f"{joined(moves)}"
    )


def _tail_sentence(cell: Row) -> str:
    mean = interval_text(*(cell[f"test_loss_{end}"] for end in ("mean", "low", "high")))
    if cell["diverged"]:
        why = f"{cell['diverged']} of {counted(cell['runs'], 'run')} diverged"
        survivors = "" if cell["diverged"] == cell["runs"] else f"; the mean of the others is {mean}"
    else:
        why, survivors = "one or more lie far out", f"; their mean is {mean}"
    return (
        f"The runs of {cell['method']} are heavy-tailed ({why}): the interquartile mean of the test loss over all of "
        f"them is {iqm_text(cell, 'test_loss')}{survivors}."
    )


def _pooled_sentence(rows: Mapping[str, Row]) -> str:
    one = next(iter(rows.values()))
    together: dict[str, list[str]] = {}
    for axis in AXES:
        if axis.name in rows:
            together.setdefault(multiple_text(rows[axis.name]), []).append(axis.title)
    said = [f"{text} the {joined(titles)}" for text, titles in together.items()]
    return (
        f"{one['method']} takes {', '.join(said)} of {one['baseline']} to the target: interquartile means over all "
        f"{counted(one['runs'], 'run')} of {counted(one['experiments'], 'experiment')}, {one['reached']} of which "
        f"reached it, by the median of {one['baseline']} in the same experiment."
    )
