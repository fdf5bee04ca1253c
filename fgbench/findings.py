"""Tables go in; the sentences that say what was asked and found come out, each made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from fgbench.statistics import LEAST_PAIRS
from fgbench.tables import EXACT_ESTIMATOR, EXPERIMENT, KEY
from fgbench.types import Json
from fgbench.verification import DIFFERS, IDENTICAL, NOT_COMPARABLE, WITHIN
from fgbench.wording import (
    ABSENT,
    count_text,
    counted,
    interval_text,
    joined,
    number_text,
    p_text,
    ratio_text,
    seconds_text,
)

Tables: TypeAlias = Mapping[str, pd.DataFrame]
Row: TypeAlias = Mapping[Any, Any]

_OTHERWISE = {WITHIN: "within tolerance", DIFFERS: "different"}
_VERDICTS = {
    IDENTICAL: "Reproduces {}",
    WITHIN: "Agrees with {} within tolerance",
    DIFFERS: "Does not reproduce {}",
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

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return this experiment's rows of a table."""
        return table[
            (table["dataset"] == self.dataset) & (table["data"] == self.data) & (table["model"] == self.model)
        ]


def experiments(tables: Tables) -> list[Experiment]:
    """Return the study's experiments, the smallest model first."""
    cells = tables["cells"].sort_values(["num_parameters", *EXPERIMENT], kind="stable")
    return [
        Experiment(*key) for key in dict.fromkeys(cells[list(EXPERIMENT)].itertuples(index=False, name=None))
    ]


def methods(tables: Tables) -> list[str]:
    """Return the study's methods, exact gradients first, then by name."""
    cells = tables["cells"]
    exact = cells["estimator"] == EXACT_ESTIMATOR
    return [*sorted(set(cells["method"][exact])), *sorted(set(cells["method"]) - set(cells["method"][exact]))]


def question(tables: Tables) -> str:
    """Return what the study asks."""
    baselines, others = _sides(tables)
    if not others or not baselines:
        return f"How does {joined(baselines or others)} train?"
    return f"Does {joined(others, last='or')} train as well as {joined(baselines, last='or')}?"


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
    sentences = [_reached_overall(method, summary) for method in methods(tables)]
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
    for method in present:
        rows = _by(comparisons[comparisons["method"] == method], "metric")
        if rows:
            sentences += _against_baseline(summary[method], rows, summary)
    return sentences


def comparison_text(row: Row) -> str:
    """Return a comparison's mean and interval, a ratio marked by ×."""
    if row["scale"] == "difference":
        sign = "+" if row["mean"] > 0 else ""
        return sign + interval_text(row["mean"], row["low"], row["high"])
    return ratio_text(row["mean"], row["low"], row["high"])


def verdict_text(verification: Json) -> str:
    """Return in a sentence whether a study reproduces its references, and how many of its runs do."""
    counts = verification["runs"]
    used = dict.fromkeys(cell["reference"] for cell in verification["cells"] if cell["reference"])
    named = [*used] or [one["name"] for one in verification["references"]]
    num_open = counts[NOT_COMPARABLE]
    num_runs = sum(counts.values())
    references = f"the reference{'' if len(named) == 1 else 's'} {joined(named)}"
    if verification["verdict"] not in _VERDICTS:
        if not named:
            return "Not verified: the config names no reference to compare with."
        return f"Not verified: none of {counted(num_runs, 'run')} can be compared with {references}."
    found = [
        f"{counts[IDENTICAL]} of {counted(num_runs - num_open, 'run')} identical",
        *(f"{counts[verdict]} {word}" for verdict, word in _OTHERWISE.items() if counts[verdict]),
    ]
    rest = f"; {num_open} more cannot be compared" if num_open else ""
    return f"{_VERDICTS[verification['verdict']].format(references)}: {joined(found)}{rest}."


def verdict_lines(verification: Json) -> list[str]:
    """Return the verdict, then a line for each cell that cannot be compared and each run that is not identical."""
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
    return lines


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


def timing_note(tables: Tables) -> str:
    """Return how the training times were taken, and whether timed runs repeat the study's."""
    times = tables["times"]
    if times.empty:
        return "No run was timed."
    columns = [times["cpu"], times["instruction_set"], times["threads"].astype(str), times["torch"]]
    on = [
        f"{cpu or 'an unnamed processor'} ({instructions or 'instruction set unknown'}), {threads} math "
        f"thread(s), torch {torch}"
        for cpu, instructions, threads, torch in sorted(set(zip(*columns, strict=True)))
    ]
    load = times["load_average"].max()
    loaded = (
        ""
        if math.isnan(load)
        else f" The machine's load average was {number_text(load, decimals=1)} at most."
    )
    return f"One run at a time on {joined(on)}.{loaded} {_repeats_text(times, tables['runs'])}"


def rates_note(rows: pd.DataFrame) -> str:
    """Return an experiment's learning rates and where they come from; `rows` are its cells."""
    rates = joined(
        [f"{rate:g} for {method}" for method, rate in zip(rows["method"], rows["learning_rate"], strict=True)]
    )
    return (
        f"Learning rates: {rates}. They come from the config file; this study did not tune them under equal "
        "budgets, so another choice may serve any of the methods better."
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds as a sentence lists them, a run of consecutive ones by its ends.

    >>> seeds_text([0, 1, 2, 3]), seeds_text([3, 5])
    ('0 to 3', '3 and 5')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return joined([str(seed) for seed in seeds])


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


def _repeats_text(times: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return how many timed runs end as the study's do, and how far off the others are."""
    known = times[times["identical"].notna()]
    native = (
        "Timed runs use the processor's own instruction set; the study's are held to AVX2 where the processor "
        "has it, so the two may differ in their last bits"
    )
    num_same = int(known["identical"].sum())
    if known.empty:
        return f"{native}."
    text = f"{native}: {num_same} of {len(known)} end at the identical loss"
    if num_same == len(known):
        return f"{text}."
    others = known[~known["identical"].astype(bool)].merge(runs, on=[*KEY, "seed"], suffixes=("", "_study"))
    off = (others["final_train_loss"] - others["train_loss"]).abs().max()
    num_moved = int((others["steps"] != others["steps_study"]).sum())
    moved = f", {num_moved} of them after another number of steps" if num_moved else ""
    return f"{text}; {len(others)} {'does' if len(others) == 1 else 'do'} not{_off_text(off)}{moved}."


def _off_text(off: float) -> str:
    return f" (at most {off:.1g} nats off)" if math.isfinite(off) else ""


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


def _reached_overall(method: str, summary: pd.DataFrame) -> str:
    rows = summary[summary["method"] == method]
    reached, diverged = int(rows["reached"].sum()), int(rows["diverged"].sum())
    runs = counted(int(rows["runs"].sum()), "run")
    return (
        f"{method} reached the target in {reached} of {runs}{f'; {diverged} diverged' if diverged else ''}."
    )


def _verdicts(method: str, baseline: str, rows: pd.DataFrame) -> str:
    said = []
    for metric, name in (("test_loss", "final test loss"), ("test_accuracy", "final test accuracy")):
        verdicts = rows["verdict"][rows["metric"] == metric]
        counts = {
            verdict: int((verdicts == verdict).sum()) for verdict in ("better", "worse", "not resolved")
        }
        said.append(
            f"{name} {joined([f'{verdict} in {count}' for verdict, count in counts.items() if count])}"
        )
    return f"{method} against {baseline}, {_num_experiments(rows)}: {'; '.join(said)}."


def _price(method: str, baseline: str, rows: pd.DataFrame) -> list[str]:
    """Return how many times the steps and the seconds, over the experiments where every pair is complete."""
    sentences = []
    for metric, name in (("steps_to_target", "steps to the target"), ("train_time_s", "training time")):
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
    if tables["comparisons"].empty:
        return []
    sentences = []
    for table, seeds, what in (("times", "timed seed", "ratio of times"), ("runs", "seed", "difference")):
        number = tables[table]["seed"].nunique()
        if 0 < number < LEAST_PAIRS:
            sentences.append(
                f"With {counted(number, seeds)} no {what} can be resolved: the sign-flip test needs "
                f"{LEAST_PAIRS} pairs or more."
            )
    return sentences


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
        text += (
            f"; they end at {interval_text(*(row[f'train_loss_{end}'] for end in ('mean', 'low', 'high')))}"
        )
    return f"{text}; {row['diverged']} diverged." if row["diverged"] else f"{text}."


def _against_baseline(cell: Row, rows: Mapping[str, Row], summary: Mapping[str, Row]) -> list[str]:
    baseline = summary[rows["test_loss"]["baseline"]]
    return [
        _steps_sentence(rows["steps_to_target"]),
        _difference_sentence("test loss", cell, baseline, rows["test_loss"]),
        _difference_sentence("test accuracy", cell, baseline, rows["test_accuracy"]),
        _time_sentence(cell, baseline, rows["train_time_s"]),
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
    if not (cell["timed_runs"] and baseline["timed_runs"]):
        return f"The training times of {method} and {other} were not both measured."
    ratio = f": {ratio_text(row['mean'])} as long" if row["pairs"] and not row["unpaired"] else ""
    return (
        f"Training took {seconds_text(cell['train_time_s_median'])} with {method} and "
        f"{seconds_text(baseline['train_time_s_median'])} with {other} (medians of {cell['timed_runs']} and "
        f"{counted(baseline['timed_runs'], 'timed run')}){ratio}."
    )


def _p_text(row: Row) -> str:
    return "" if math.isnan(row["low"]) else f", {p_text(row['p_value'])}"
