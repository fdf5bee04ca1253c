"""Tables go in; the sentences that say what was asked and found come out, each made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from fgbench.statistics import LEAST_PAIRS
from fgbench.tidy import EXACT_ESTIMATOR, EXPERIMENT, rows_of
from fgbench.wording import (
    Quantity,
    count_text,
    counted,
    interval_text,
    joined,
    p_text,
    ratio_text,
    seconds_interval_text,
    signed_interval_text,
)

Tables: TypeAlias = Mapping[str, pd.DataFrame]
Row: TypeAlias = Mapping[Any, Any]

MOST_TOLD = 4
"""Methods beside the baseline of which each is told by itself; of more, those of one kind are told together."""

_CLAIMED = ("better", "worse", "not resolved")
_TOLD = {
    "test_loss": "Final test loss",
    "test_accuracy": "Final test accuracy",
    "steps_to_target": "Steps to the target",
    "time_to_target_s": "Time to the target",
}


@dataclass(frozen=True)
class Experiment:
    """A model on the data really used, trained with every method."""

    dataset: str
    data: str
    model: str

    @property
    def title(self) -> str:
        """Its name in headings and captions, with the data's true name."""
        stand_in = f" (stand-in for {self.dataset})" if self.data != self.dataset else ""
        return f"{self.model} on {self.data}{stand_in}"

    @property
    def where(self) -> dict[str, str]:
        """What marks its rows in a table."""
        return {"dataset": self.dataset, "data": self.data, "model": self.model}

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return this experiment's rows of a table."""
        return rows_of(table, self.where, EXPERIMENT)


def experiments(tables: Tables) -> list[Experiment]:
    """Return the study's experiments, the smallest model first."""
    cells = zip(*(tables["cells"][name] for name in ("num_parameters", *EXPERIMENT)), strict=True)
    return [Experiment(*key) for key in dict.fromkeys(tuple(names) for _, *names in sorted(cells))]


def methods(tables: Tables) -> list[str]:
    """Return the study's methods, exact gradients first, then by name."""
    cells = [*zip(tables["cells"]["method"], tables["cells"]["estimator"], strict=True)]
    exact = {method for method, estimator in cells if estimator == EXACT_ESTIMATOR}
    return [*sorted(exact), *sorted({method for method, _ in cells} - exact)]


def question(tables: Tables) -> str:
    """Return what the study asks."""
    baselines, others = _sides(tables)
    if not others or not baselines:
        return f"How does {joined(baselines or others)} train?"
    named = joined(others, last="or") if len(others) <= MOST_TOLD else f"any of {len(others)} methods"
    return f"Does {named} train as well as {joined(baselines, last='or')}?"


def asked(tables: Tables) -> str:
    """Return how the question was put: experiments, seeds and where a run ends."""
    cells, seeds = tables["cells"], sorted(set(tables["runs"]["seed"]))
    titles = [experiment.title for experiment in experiments(tables)]
    return (
        f"{joined(titles)}, each trained with {joined(methods(tables))} at {counted(len(seeds), 'seed')} "
        f"({seeds_text(seeds)}). A run ends when its training loss falls below its target "
        f"({_extremes(cells['target_loss'], '{:g}'.format)}), or after "
        f"{_extremes(cells['max_steps'], count_text)} steps. "
        "At one seed all methods share the split, the initial parameters and the order of batches."
    )


def overview(tables: Tables) -> list[str]:
    """Return the answer in a few sentences: a method's verdicts over all experiments, and its price."""
    summary, comparisons = tables["summary"], tables["comparisons"]
    if len(methods(tables)) > MOST_TOLD + 1:
        return [*_reached_together(summary), *verdicts_together(comparisons), *_caution(tables)]
    sentences = [_reached_overall(method, tables) for method in methods(tables)]
    for (method, baseline), rows in comparisons.groupby(["method", "baseline"], sort=True):
        sentences += [_verdicts(str(method), str(baseline), rows), *_price(str(method), str(baseline), rows)]
    if comparisons.empty:
        sentences.append(
            f"No method was trained beside one with exact gradients ({EXACT_ESTIMATOR}): nothing is compared."
        )
    return sentences + _caution(tables)


def experiment_findings(tables: Tables, experiment: Experiment) -> list[str]:
    """Return what was found in one experiment: how the runs ended, and each method against the baseline."""
    summary = _by(experiment.rows(tables["summary"]), "method")
    targets = _by(experiment.rows(tables["cells"]), "method")
    comparisons = experiment.rows(tables["comparisons"])
    present = [method for method in methods(tables) if method in summary]
    sentences = [_ending(summary[method], targets[method]["target_loss"]) for method in present]
    sentences += skipped_sentences(experiment.rows(tables["cells"]))
    for method in present:
        rows = _by(comparisons[comparisons["method"] == method], "metric")
        if rows:
            sentences += _against_baseline(summary[method], rows, summary)
    return sentences


def grouped_findings(tables: Tables, experiment: Experiment) -> list[str]:
    """Return what was found in one experiment of many methods, those that ended alike or have one verdict together."""
    return [
        *_reached_together(experiment.rows(tables["summary"])),
        *skipped_sentences(experiment.rows(tables["cells"])),
        *verdicts_together(experiment.rows(tables["comparisons"])),
    ]


def together_text(groups: Mapping[str, Sequence[str]]) -> str:
    """Return what holds of which methods, by what holds; the many of the largest group are not named.

    >>> together_text({"worse": list("abcdef"), "better": ["g", "h"]})
    'better with g and h; worse with the other 6 methods'
    >>> together_text({"worse": list("abcdef")}), together_text({"worse": ["a"], "better": ["b"]})
    ('worse with all 6 methods', 'worse with a; better with b')
    """
    largest = max(groups, key=lambda text: len(groups[text]))
    if len(groups[largest]) <= MOST_TOLD:
        return "; ".join(f"{text} with {joined(names)}" for text, names in groups.items())
    rest = "all" if len(groups) == 1 else "the other"
    said = [f"{text} with {joined(names)}" for text, names in groups.items() if text != largest]
    return "; ".join([*said, f"{largest} with {rest} {len(groups[largest])} methods"])


def verdicts_together(comparisons: pd.DataFrame, metrics: Sequence[str] = ()) -> list[str]:
    """Return by quantity which methods are better, worse or not resolved, and in how many experiments if several.

    `metrics` are the quantities told of; none: all of those that are told at all.
    """
    sentences = []
    several = len(comparisons[list(EXPERIMENT)].drop_duplicates()) > 1
    by_metric = dict(list(comparisons.groupby(["metric", "baseline"], sort=False)))
    told = [key for metric in metrics for key in by_metric if key[0] == metric] if metrics else [*by_metric]
    for metric, baseline in told:
        rows = by_metric[metric, baseline]
        if metric not in _TOLD:
            continue
        alike: dict[str, list[str]] = {}
        for method, own in rows.groupby("method", sort=True):
            counts = {verdict: int((own["verdict"] == verdict).sum()) for verdict in _CLAIMED}
            said = [
                f"{verdict}{f' in {count}' if several else ''}" for verdict, count in counts.items() if count
            ]
            alike.setdefault(joined(said), []).append(str(method))
        groups = {text: alike[text] for text in sorted(alike)}
        sentences.append(f"{_TOLD[str(metric)]} against {baseline}: {together_text(groups)}.")
    return sentences


def comparison_text(row: Row) -> Quantity:
    """Return a comparison's mean and interval, a ratio marked by ×."""
    if row["scale"] == "difference":
        return signed_interval_text(row["mean"], row["low"], row["high"])
    return ratio_text(row["mean"], row["low"], row["high"])


def target_time_text(cell: Row) -> Quantity:
    """Return a cell's median time to the target, with its interval if every run reached it."""
    if math.isinf(cell["time_to_target_s"]):
        return Quantity("not reached", math.inf)
    return seconds_interval_text(*(cell[f"time_to_target_{end}"] for end in ("s", "low", "high")))


def rates_note(rows: pd.DataFrame, tuned: pd.DataFrame) -> str:
    """Return an experiment's learning rates and where they come from; `rows` are its cells, `tuned` its tuned rates."""
    trained = rows[rows["skipped"] == ""]
    rates = joined(
        [
            f"{rate:g} for {method}"
            for method, rate in zip(trained["method"], trained["learning_rate"], strict=True)
        ]
    )
    own = trained["method"].isin(tuned["method"])
    if own.all():
        return f"Learning rates: {rates}; all were tuned, by the same budget each."
    rest = "They come" if not own.any() else f"Those of {joined([*trained['method'][~own]])} come"
    return (
        f"Learning rates: {rates}. {rest} from the config file; this study did not tune them under equal "
        "budgets, so another choice may serve any of the methods better."
    )


def skipped_sentences(rows: pd.DataFrame) -> list[str]:
    """Return for each of these cells that was not trained a sentence that says so, and why."""
    skipped = rows[rows["skipped"] != ""]
    return [
        f"{method} was not trained: {reason}."
        for method, reason in zip(skipped["method"], skipped["skipped"], strict=True)
    ]


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds as a sentence lists them, a run of consecutive ones by its ends.

    >>> seeds_text([0, 1, 2, 3]), seeds_text([3, 5])
    ('0 to 3', '3 and 5')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return joined([str(seed) for seed in seeds])


def _sides(tables: Tables) -> tuple[list[str], list[str]]:
    cells = tables["cells"]
    exact = set(cells["method"][cells["estimator"] == EXACT_ESTIMATOR])
    every = methods(tables)
    return [method for method in every if method in exact], [
        method for method in every if method not in exact
    ]


def _extremes(values: pd.Series[Any], text: Callable[[float], str]) -> str:
    low, high = text(float(values.min())), text(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _by(rows: pd.DataFrame, column: str) -> dict[str, Row]:
    return {row[column]: row for row in rows.to_dict("records")}


def _reached_overall(method: str, tables: Tables) -> str:
    rows, cells = (table[table["method"] == method] for table in (tables["summary"], tables["cells"]))
    if rows.empty:
        return f"{method} was trained nowhere: {joined([*dict.fromkeys(cells['skipped'])])}."
    num_skipped = int((cells["skipped"] != "").sum())
    where = f" ({counted(num_skipped, 'experiment')} skipped)" if num_skipped else ""
    reached, diverged = int(rows["reached"].sum()), int(rows["diverged"].sum())
    runs = counted(int(rows["runs"].sum()), "run")
    return (
        f"{method} reached the target in {reached} of {runs}{where}"
        f"{f'; {diverged} diverged' if diverged else ''}."
    )


def _reached_together(summary: pd.DataFrame) -> list[str]:
    """Return how many runs reached the target, all methods of which it is the same share together, the most first."""
    ended: dict[tuple[float, str], list[str]] = {}
    for method, rows in summary.groupby("method", sort=True):
        reached, runs, diverged = (int(rows[name].sum()) for name in ("reached", "runs", "diverged"))
        lost = f" ({diverged} diverged)" if diverged else ""
        ended.setdefault((-reached / runs, f"{reached} of {counted(runs, 'run')}{lost}"), []).append(
            str(method)
        )
    groups = {text: ended[share, text] for share, text in sorted(ended)}
    return [f"The target was reached in {together_text(groups)}."] if groups else []


def _verdicts(method: str, baseline: str, rows: pd.DataFrame) -> str:
    said = []
    for metric, name in (("test_loss", "final test loss"), ("test_accuracy", "final test accuracy")):
        verdicts = rows["verdict"][rows["metric"] == metric]
        counts = {verdict: int((verdicts == verdict).sum()) for verdict in _CLAIMED}
        said.append(
            f"{name} {joined([f'{verdict} in {count}' for verdict, count in counts.items() if count])}"
        )
    return f"{method} against {baseline}, {_num_experiments(rows)}: {'; '.join(said)}."


def _price(method: str, baseline: str, rows: pd.DataFrame) -> list[str]:
    """Return how many times the steps and the seconds, over the experiments where every pair is complete."""
    sentences = []
    for metric, name in (
        ("steps_to_target", "steps to the target"),
        ("time_to_target_s", "time to the target"),
    ):
        known = rows[(rows["metric"] == metric) & (rows["unpaired"] == 0) & (rows["pairs"] > 0)]
        if len(known):
            times = _extremes(known["mean"], ratio_text)
            num_all = int((rows["metric"] == metric).sum())
            where = (
                "" if len(known) == num_all else f" where every pair is complete, {len(known)} of {num_all}"
            )
            open_ones = int((known["verdict"] == "not resolved").sum())
            unresolved = f" (not resolved in {open_ones} of {len(known)})" if open_ones else ""
            sentences.append(f"{method} took {times} the {name} of {baseline}{where}{unresolved}.")
    return sentences


def _num_experiments(rows: pd.DataFrame) -> str:
    return counted(len(rows[list(EXPERIMENT)].drop_duplicates()), "experiment")


def _caution(tables: Tables) -> list[str]:
    number = tables["runs"]["seed"].nunique()
    if tables["comparisons"].empty or number >= LEAST_PAIRS:
        return []
    return [
        f"With {counted(number, 'seed')} no difference can be resolved: the sign-flip test needs {LEAST_PAIRS} "
        "pairs or more."
    ]


def _ending(row: Row, target_loss: float) -> str:
    text = (
        f"{row['method']} reached a training loss of {target_loss:g} in {row['reached']} of "
        f"{counted(row['runs'], 'run')}"
    )
    if math.isfinite(row["steps_to_target_median"]):
        text += f", after a median of {count_text(row['steps_to_target_median'])} steps"
    elif row["reached"]:
        text += ", too few for a median of the steps"
    if row["diverged"] < row["runs"]:
        ended = counted(row["runs"] - row["diverged"], "run")
        whose = "the others" if row["diverged"] else "one run" if row["runs"] == 1 else f"all {ended}"
        mean = interval_text(*(row[f"train_loss_{end}"] for end in ("mean", "low", "high")))
        text += f"; the mean at the end of {whose} is {mean}"
    return f"{text}; {row['diverged']} diverged." if row["diverged"] else f"{text}."


def _against_baseline(cell: Row, rows: Mapping[str, Row], summary: Mapping[str, Row]) -> list[str]:
    baseline = summary[rows["test_loss"]["baseline"]]
    return [
        _steps_sentence(rows["steps_to_target"]),
        _difference_sentence("test loss", cell, baseline, rows["test_loss"]),
        _difference_sentence("test accuracy", cell, baseline, rows["test_accuracy"]),
        _time_sentence(cell, baseline, rows["time_to_target_s"]),
    ]


def _steps_sentence(row: Row) -> str:
    method, baseline = row["method"], row["baseline"]
    if row["unpaired"] or not row["pairs"]:
        rest = ", and the others are the lucky ones" if row["pairs"] else ""
        return (
            f"How many times the steps of {baseline} {method} needs is not claimed: at "
            f"{counted(row['unpaired'], 'seed')} one or both of the two missed the target, or began below "
            f"it{rest}."
        )
    return (
        f"{method} took {comparison_text(row)} the steps of {baseline} to the target (geometric mean over "
        f"{counted(row['pairs'], 'seed')}{_p_text(row)})."
    )


def _difference_sentence(name: str, cell: Row, baseline: Row, row: Row) -> str:
    metric = row["metric"]
    here, there = (
        interval_text(*(one[f"{metric}_{end}"] for end in ("mean", "low", "high")))
        for one in (cell, baseline)
    )
    text = f"Final {name}: {here} with {row['method']}, {there} with {row['baseline']}"
    if not row["pairs"]:
        return f"{text}. No pair of runs can be compared."
    left_out = f"; {counted(row['unpaired'], 'pair')} lost to divergence" if row["unpaired"] else ""
    return f"{text}; paired difference {comparison_text(row)}{_p_text(row)}{left_out}: {row['verdict']}."


def _time_sentence(cell: Row, baseline: Row, row: Row) -> str:
    method, other = row["method"], row["baseline"]
    if math.isnan(cell["step_time_s"]) or math.isnan(baseline["step_time_s"]):
        return (
            f"The times to the target of {method} and {other} are not known: their steps were not both timed."
        )
    here, there = (
        f"{target_time_text(one)} with {one['method']}"
        + ("" if one["reached"] == one["runs"] else f" (reached by {one['reached']}/{one['runs']})")
        for one in (cell, baseline)
    )
    text = f"Median time to the target: {here}, {there}"
    if row["unpaired"] or not row["pairs"]:
        return f"{text}; no ratio is claimed, for the same reason as for the steps."
    paired = f"{comparison_text(row)} as long (geometric mean of the pairs)"
    return f"{text}; {paired}{_p_text(row)}: {row['verdict']}."


def _p_text(row: Row) -> str:
    return "" if math.isnan(row["low"]) else f", {p_text(row['p_value'])}"
