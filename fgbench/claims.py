"""A study's tables go in; what they say to each claim of the literature that `claims.yaml` lists comes out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import yaml

from fgbench.cost_findings import Case, cases
from fgbench.cost_tables import EAGER, FORWARD_PASS
from fgbench.errors import ConfigError, ResultError
from fgbench.evidence import (
    BACKPROP,
    FORWARD_GRADIENT,
    STEPS_TO_TARGET,
    TEST_ACCURACY,
    TEST_LOSS,
    TIME_TO_TARGET,
    Evidence,
    bounded,
    figure_text,
    judged,
    mean_difference,
    mean_ratio,
    measured,
    said,
    untested,
    weighed,
)
from fgbench.findings import Experiment, Row, Tables
from fgbench.judgements import (
    AGAINST,
    FAILS,
    FOR,
    HOLDS,
    OPEN,
    PARTLY,
    UNRESOLVED,
    UNTESTED,
    VERDICTS,
    Judgement,
    Measured,
    judgement_tables,
    judgements_in,
)
from fgbench.statistics import (
    LEAST_PAIRS,
    SIGNIFICANCE,
    ends,
    paired_difference,
    paired_ratio,
    power_law,
    sign_test_p_value,
)
from fgbench.wording import counted, joined, number_text, ratio_text

ClaimFunction: TypeAlias = Callable[..., Judgement]
"""Takes the evidence, and after `*` the parameters that its entry in `claims.yaml` gives."""

CLAIMS_FILE = Path(__file__).with_name("claims.yaml")

READ = "read in the source"
READ_ABOUT = "read in a secondary source"
QUOTED = "quoted"
PARAPHRASED = "paraphrased"


@dataclass(frozen=True)
class Entry:
    """A claim of the literature: what it is called here, its words, whose they are, and what tests it.

    `words` says whether they are quoted or paraphrased, `evidence` whether they were read in the source itself. `note`
    says what the reader has to know of the test; `parameters` are its function's options.
    """

    id: str
    name: str
    claim: str
    words: str
    cite: str
    source: str
    evidence: str
    needs: str
    note: str
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """A claim, and what the study says to it."""

    entry: Entry
    judgement: Judgement


def judged_claims(tables: Tables, path: Path | None = None) -> list[Judged]:
    """Return every claim of a file with what the study's tables say to it, in the file's order.

    Raises ConfigError where the file is none, or an entry has no function.
    """
    evidence = Evidence(tables)
    return [
        Judged(one, CLAIMS[one.id](evidence, **one.parameters)) for one in read_claims(path or CLAIMS_FILE)
    ]


def claim_tables(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return what a study's tables say to every claim of the literature, as the tables of `judgements`."""
    return judgement_tables({one.entry.id: one.judgement for one in judged_claims(tables)})


def claims_in(tables: Tables) -> list[Judged]:
    """Return every claim of the literature with what `claim_tables` found of it, in the file's order.

    Raises ResultError where it was made of another file of claims.
    """
    entries, judgements = read_claims(CLAIMS_FILE), judgements_in(tables)
    if {*judgements} != {one.id for one in entries}:
        listed = joined(sorted({*judgements} ^ {one.id for one in entries}))
        raise ResultError(
            f"table claims: is of other claims than {CLAIMS_FILE.name} lists ({listed}). Run the study again: it makes "
            "the tables anew."
        )
    return [Judged(one, judgements[one.id]) for one in entries]


def read_claims(path: Path) -> list[Entry]:
    """Return the claims that a file lists.

    Raises ConfigError with every complaint: which entry, which key, what was found, what is accepted.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content):
        raise ConfigError(f"{path}: a list of claims was expected, each a mapping of its keys to values.")
    complaints = [line for place, entry in enumerate(content) for line in _complaints(place, entry)]
    ids = [str(entry.get("id")) for entry in content]
    complaints += [
        f"{one}: stands there more than once" for one in sorted({i for i in ids if ids.count(i) > 1})
    ]
    if complaints:
        lines = "\n".join(f"  {complaint}" for complaint in complaints)
        raise ConfigError(f"{path} does not list claims:\n{lines}")
    return [Entry(**{"note": "", "parameters": {}} | entry) for entry in content]


def overview(found: Sequence[Judged]) -> list[str]:
    """Return how many claims there are of each verdict, and which, in one sentence."""
    parts = []
    for verdict in VERDICTS:
        names = [one.entry.name for one in found if one.judgement.verdict == verdict]
        if names:
            listed = f" ({'; '.join(names)})" if verdict in _NAMED else ""
            parts.append(f"{len(names)} {_COUNTED[verdict][len(names) > 1]}{listed}")
    return [f"Of {counted(len(found), 'claim')} of the literature, {joined(parts)}."] if parts else []


# What a step costs


def faster_step(evidence: Evidence, *, speed_up: float) -> Judgement:
    """Judge whether a step of a forward gradient is faster than one of backprop, in some case by `speed_up`.

    On each engine but for one on which backprop itself is slower than eager: to beat it there proves nothing.
    """
    found = [
        _step(case, row, claimed="better")
        for case in cases(evidence.tables)
        for row in _step_rows(evidence, case)
        if row["engine"] not in _slow_engines(case)
    ]
    if not found:
        return untested("a step of a forward gradient timed beside one of backprop")
    return _in_some_case(found, "time of a step, as a multiple of backprop's", speed_up)


def faster_to_target(evidence: Evidence, *, speed_up: float) -> Judgement:
    """Judge whether a forward gradient reaches the target sooner than backprop, in some case by `speed_up`."""
    found = _by_comparisons(evidence, _forward_methods(evidence.tables), TIME_TO_TARGET, claimed="better")
    if not any(math.isfinite(one.value) for one in found):
        return untested(
            "a forward gradient whose runs all reached the target, beside such a backprop, and both steps timed"
        )
    return _in_some_case(found, "time to the target, as a multiple of backprop's", speed_up)


def cheaper_step(evidence: Evidence, *, forward: float, backprop: float) -> Judgement:
    """Judge whether a step of one forward gradient costs fewer forward passes than one of backprop.

    As training runs both. `forward` and `backprop` are the forward passes that the claim gives.
    """
    found, here = [], []
    for case in cases(evidence.tables):
        for row in _step_rows(evidence, case, num_tangents=1):
            if row["engine"] != EAGER:
                continue
            found.append(_step(case, row, claimed="better"))
            passes = [case.ratio(method, FORWARD_PASS) for method in (row["method"], case.baseline or "")]
            if all(passes):
                own, other = (ratio_text(one["ratio"]) for one in passes if one)
                here.append(f"{case.title} {own} against {other}")
    if not found:
        return untested("a step of a forward gradient with one tangent timed beside one of backprop")
    note = (
        f"The claim's figures are {forward:g} and {backprop:g} forward passes, {ratio_text(forward / backprop)} "
        f"between them{f'; a whole step here: {_listed(here)}' if here else ''}."
    )
    return judged(found, "time of a step, as a multiple of backprop's", note=note, timed=True)


def no_speed_up(evidence: Evidence) -> Judgement:
    """Judge whether a step of one forward gradient is slower than one of backprop, as training runs both."""
    found = [
        _step(case, row, claimed="worse")
        for case in cases(evidence.tables)
        for row in _step_rows(evidence, case, num_tangents=1)
        if row["engine"] == EAGER
    ]
    if not found:
        return untested("a step of a forward gradient with one tangent timed beside one of backprop")
    return judged(found, "time of a step, as a multiple of backprop's", timed=True)


def flat_in_depth(evidence: Evidence, *, flat: float) -> Judgement:
    """Judge whether a jvp's memory does not grow with depth while backprop's does: exponents below and above `flat`.

    Where the forward gradient's own vectors, its tangents and the estimate, are as large as the parameters, and grow
    with them, they are left out too: 4 (K + 1) (w² + w) bytes a layer of width w.
    """
    rows = evidence.tables["ladder"]
    rows = rows[(rows["axis"] == "depth") & (rows["quantity"] == "peak_memory_bytes")]
    whole, bare, exact = [], [], []
    for (device, method), own in rows.groupby(["device", "method"], sort=False):
        where = f"ladder, {str(device).upper()}"
        memory = own.groupby("size")[["value", "width", "num_tangents"]].median()
        if FORWARD_GRADIENT in evidence.estimators(str(method)):
            whole.append(bounded(_exponent(where, f"{method}, whole step", memory["value"]), high=flat))
            vectors = (
                4 * (memory["num_tangents"] + 1) * (memory["width"] ** 2 + memory["width"]) * memory.index
            )
            rest = memory["value"] - vectors
            bare.append(bounded(_exponent(where, f"{method}, less its own vectors", rest), high=flat))
        elif BACKPROP in evidence.estimators(str(method)):
            exact.append(bounded(_exponent(where, f"{method}, whole step", memory["value"]), low=flat))
    found = [*whole, *bare, *exact]
    if not whole or not exact or not any(math.isfinite(one.low) for one in found):
        return untested(
            "the memory of a forward gradient and of backprop on three depths of the ladder or more"
        )
    says = [{one.says for one in part} for part in (whole, bare, exact)]
    quantity = f"exponent of memory in depth (flat below {flat:g})"
    if says[0] == says[2] == {FOR}:
        verdict, reason = HOLDS, ""
    elif says[1] == says[2] == {FOR}:
        verdict, reason = (
            PARTLY,
            "the tangents and the estimate, as many numbers as the model has, are left out",
        )
    elif AGAINST in says[0] | says[2]:
        verdict, reason = FAILS, ""
    else:
        verdict, reason = UNRESOLVED, "too few sizes, or too much noise, to tell a small exponent from none"
    return Judgement(verdict, reason, quantity, figure_text(found), "", found, (flat,))


def inference_memory(evidence: Evidence, *, factor: float) -> Judgement:
    """Judge whether central differences take no more memory than a forward pass: less than `factor` times as much.

    A peak is measured once: what is resampled are the places, the experiments and the sizes of each axis of the ladder.
    """
    tables, found = evidence.tables, []
    methods = [
        *dict.fromkeys(tables["cells"]["method"][tables["cells"]["estimator"] == "central_difference"])
    ]
    places = [
        (
            "experiments",
            tables["step_memory"].assign(size=0, value=tables["step_memory"]["peak_memory_bytes"]),
        )
    ]
    ladder = tables["ladder"][tables["ladder"]["quantity"] == "peak_memory_bytes"]
    places += [(f"ladder, {axis}", own) for axis, own in ladder.groupby("axis", sort=False)]
    for where, rows in places:
        by = [name for name in ("dataset", "model", "device", "size") if name in rows]
        bare = rows[rows["method"] == FORWARD_PASS].set_index(by)["value"]
        for method in methods:
            own = rows[rows["method"] == method].set_index(by)["value"]
            pairs = pd.concat([own, bare], axis=1, join="inner").astype("float64")
            pairs = pairs[(pairs > 0).all(axis=1)]
            if len(pairs) > 2:
                difference = paired_ratio(*pairs.to_numpy().T)
                found.append(
                    bounded(measured(where, f"{method}, {len(pairs)} places", difference), high=factor)
                )
    if not found:
        return untested(
            "the memory of a central difference and of a bare forward pass, at three places or more"
        )
    return judged(found, "peak memory, as a multiple of a forward pass's", limits=(factor,))


def checkpointing_more_accurate(evidence: Evidence, *, memory: float) -> Judgement:
    """Judge whether checkpointed backprop ends more accurate than a forward gradient, at comparable memory."""
    return _checkpointed(
        evidence, TEST_ACCURACY, "test accuracy at the end, less the forward gradient's", memory
    )


def checkpointing_faster(evidence: Evidence, *, memory: float) -> Judgement:
    """Judge whether checkpointed backprop is sooner at the target than a forward gradient, at comparable memory."""
    quantity = "time to the target, as a multiple of the forward gradient's"
    return _checkpointed(evidence, TIME_TO_TARGET, quantity, memory)


# How training goes


def as_many_steps(evidence: Evidence, *, factor: float) -> Judgement:
    """Judge whether a forward gradient takes as many steps to the target as backprop: within `factor` times."""
    methods = {cell["method"] for _, cell, _ in evidence.beside_baseline}
    found = [
        bounded(one, low=1 / factor, high=factor)
        for one in _by_comparisons(evidence, methods, STEPS_TO_TARGET, claimed="better")
    ]
    if not found:
        return untested("a forward gradient with one tangent trained beside backprop")
    return judged(found, "steps to the target, as a multiple of backprop's", limits=(1 / factor, factor))


def less_accurate(evidence: Evidence) -> Judgement:
    """Judge whether a forward gradient ends less accurate than backprop."""
    methods = {cell["method"] for _, cell, _ in evidence.beside_baseline}
    found = _by_comparisons(evidence, methods, TEST_ACCURACY, claimed="worse")
    if not found:
        return untested("a forward gradient with one tangent trained beside backprop")
    return judged(found, "test accuracy at the end, less backprop's")


def better_at_a_shared_rate(evidence: Evidence, *, forward: float, backprop: float) -> Judgement:
    """Judge whether a forward gradient ends lower than backprop: at its own rate for both, and at each one's own.

    By the validation loss of the trials that tuning made; one that diverged counts as infinite. `forward` and
    `backprop` are the test accuracies that the claim gives.
    """
    shared, own, num_seeds = [], [], 0
    for experiment, cell, baseline in evidence.beside_baseline:
        mine, others = (_trials(evidence, experiment, one) for one in (cell, baseline))
        rows = experiment.rows(evidence.tables["shared_rates"])
        rows = rows[(rows["method"] == baseline["method"]) & (rows["rate_of"] == cell["method"])]
        if mine.empty or others.empty or rows.empty:
            continue
        what = _versus(cell, baseline)
        same, num_seeds = _losses(rows), max(num_seeds, len(mine))
        shared.append(_endings(experiment.title, f"{what}, at the rate of {cell['method']}", mine, same))
        own.append(_endings(experiment.title, f"{what}, each at its own rate", mine, others))
    if not shared:
        return untested(f"trials at a shared rate: {_TUNED_NOTHING}")
    note = f"The claim's figures are test accuracies of {forward:g} and {backprop:g}, one run each."
    found = judged([*shared, *own], "validation loss at the end, as a multiple of backprop's", note=note)
    says = (
        {one.says for one in found.measured[: len(shared)]},
        {one.says for one in found.measured[len(shared) :]},
    )
    if found.verdict == UNRESOLVED and num_seeds < LEAST_PAIRS:
        few = f"{counted(num_seeds, 'seed')} a trial, of which fewer than {LEAST_PAIRS} can resolve nothing"
        return replace(found, reason=few)
    if says[0] == {FOR} and FOR not in says[1]:
        return replace(found, reason="backprop takes the rate that suits the forward gradient, not its own")
    return found


def ends_lower_when_tuned(evidence: Evidence, *, forward: float, backprop: float) -> Judgement:
    """Judge whether backprop, tuned for itself, has the lower test loss after as many steps as a forward gradient.

    `forward` and `backprop` are the test losses that the claim gives.
    """
    found = []
    for experiment, cell, baseline in evidence.beside_baseline:
        rates = experiment.rows(evidence.tables["rates"])
        if {cell["method"], baseline["method"]} <= {*rates["method"][rates["learning_rate"].notna()]}:
            difference = evidence.compared(experiment, cell, baseline, TEST_LOSS)
            found.append(
                measured(
                    experiment.title, _versus(cell, baseline), difference, claimed="worse", scale="difference"
                )
            )
    if not found:
        return untested(f"backprop and a forward gradient, each at a rate tuned for itself: {_TUNED_NOTHING}")
    note = (
        f"The claim's figures are test losses of {forward:g} and {backprop:g} after 50 epochs, one run each."
    )
    return judged(found, "test loss after equal steps, less backprop's", note=note)


def rate_smaller_by_dimension(evidence: Evidence, *, factor: float) -> Judgement:
    """Judge whether a forward gradient's best rate is backprop's by 1 + (d + κ - 2) / K, within `factor` times.

    The interval is no confidence interval: each rate is known to half a step of its grid on either side.
    """
    found, ratios = [], []
    for experiment in evidence.experiments:
        rates = experiment.rows(evidence.tables["rates"])
        for cell in evidence.cells(experiment, FORWARD_GRADIENT):
            for row in rates[rates["method"] == cell["method"]].to_dict("records"):
                if not (math.isfinite(row["rate_ratio"]) and math.isfinite(row["law_ratio"])):
                    continue
                value, step = row["rate_ratio"] / row["law_ratio"], 10 ** (1 / row["rates_per_decade"])
                ratios.append(f"{ratio_text(row['rate_ratio'])} for a law of {ratio_text(row['law_ratio'])}")
                one = Measured(
                    experiment.title, cell["method"], value, value / step, value * step, math.nan, OPEN
                )
                found.append(bounded(one, low=1 / factor, high=factor))
    if not found:
        return untested(f"the tuned rates of backprop and of a forward gradient: {_TUNED_NOTHING}")
    note = f"Backprop's rate by the forward gradient's: {_listed(ratios)}. Intervals are a step of the rates' grid."
    return judged(
        found, "ratio of the tuned rates, as a multiple of the law's", note=note, limits=(1 / factor, factor)
    )


def gap_grows(evidence: Evidence) -> Judgement:
    """Judge whether a forward gradient needs the more of backprop's steps the more parameters a model has.

    For each data set with two sizes of model or more, and each method: the slope, at each seed, of the logarithm of
    the steps by backprop's against that of the parameters. A miss counts as the most steps that a run takes, which
    understates the gap.
    """
    lines: dict[tuple[str, str], dict[int, pd.Series[float]]] = {}
    for experiment, cell, baseline in evidence.beside_baseline:
        steps, exact = evidence.censored_steps(cell), evidence.censored_steps(baseline)
        if (
            bool((exact < baseline["max_steps"]).all())
            and bool((exact > 0).all())
            and bool((steps > 0).all())
        ):
            title = Experiment(experiment.dataset, experiment.data, "").title.removeprefix(" on ")
            line = lines.setdefault((title, cell["method"]), {})
            line.setdefault(int(cell["num_parameters"]), (steps / exact).map(math.log))
    found = []
    for (title, method), by_size in lines.items():
        gaps = pd.DataFrame(by_size).dropna()
        if gaps.shape[1] > 1 and len(gaps):
            slopes = np.polyfit(np.log(gaps.columns.to_numpy(dtype=float)), gaps.to_numpy().T, 1)[0]
            slopes[abs(slopes) < _ROUNDING] = 0.0
            difference = paired_difference(slopes, np.zeros_like(slopes), higher_is_better=True)
            sizes = joined([f"{size:,}" for size in sorted(by_size)])
            found.append(measured(title, f"{method}, d = {sizes}", difference, scale="number"))
    if not found:
        return untested(
            "a forward gradient and backprop trained on one data set with models of several sizes, where backprop "
            "always reaches the target"
        )
    return judged(found, "exponent of the multiple of backprop's steps in d")


# Better estimates


def rademacher_varies_least(evidence: Evidence) -> Judgement:
    """Judge whether one Rademacher tangent gives the least variance of all whose entries are independent."""
    found, less = [], []
    for experiment in evidence.experiments:
        by_point = {
            row["point"]: row for row in _single(evidence.laws(experiment, *_VARIANCE, tangents="rademacher"))
        }
        for other in ("normal", "uniform"):
            for row in _first_point(_single(evidence.laws(experiment, *_VARIANCE, tangents=other))):
                if own := by_point.get(row["point"]):
                    what = f"rademacher against {other}, d = {own['num_parameters']:,}"
                    found.append(mean_ratio(experiment.title, what, own, row, claimed="less"))
                    less.append(1 - own["expected"] / row["expected"])
    if not found:
        return untested(
            f"the variance of forward gradients along Rademacher's and other tangents: {_NO_LAWS}"
        )
    note = (
        f"By the law, d + κ − 2, it is less by {number_text(100 * min(less))} % to {number_text(100 * max(less))} %: "
        "the larger d, the more draws it takes to tell."
    )
    return judged(found, "variance, as a multiple of that along other tangents", note=note)


def more_tangents_closer(evidence: Evidence) -> Judgement:
    """Judge whether the mean of several forward gradients points closer to the gradient than one."""
    found = []
    for experiment in evidence.experiments:
        rows = _first_point(evidence.laws(experiment, "cosine", FORWARD_GRADIENT, tangents="normal"))
        for single in _single(rows):
            for row in rows:
                if row["num_tangents"] > 1:
                    what = f"{row['num_tangents']} tangents against 1, d = {row['num_parameters']:,}"
                    found.append(mean_ratio(experiment.title, what, row, single, claimed="more"))
    if not found:
        return untested(
            f"the cosine to the gradient of forward gradients with one tangent and with several: {_NO_LAWS}"
        )
    return judged(found, "cosine to the gradient, as a multiple of one tangent's")


def orthonormal_closer(evidence: Evidence) -> Judgement:
    """Judge whether the projection on several tangents points closer to the gradient than their plain mean."""
    found = []
    for experiment in evidence.experiments:
        plain = {
            (row["point"], row["num_tangents"]): row
            for row in evidence.laws(experiment, "cosine", FORWARD_GRADIENT, tangents="normal")
        }
        projected = evidence.laws(
            experiment, "projection_cosine", "orthonormal_projection", tangents="normal"
        )
        for row in _first_point(projected):
            if row["num_tangents"] > 1 and (other := plain.get((row["point"], row["num_tangents"]))):
                what = f"{row['num_tangents']} tangents, d = {row['num_parameters']:,}"
                found.append(mean_ratio(experiment.title, what, row, other, claimed="more"))
    if not found:
        return untested(
            f"the cosine to the gradient of orthonormalised tangents and of their plain mean: {_NO_LAWS}"
        )
    return judged(found, "cosine to the gradient, as a multiple of the plain mean's")


def activities_vary_less(evidence: Evidence) -> Judgement:
    """Judge whether perturbed activities give an estimate of less variance than perturbed weights: at every point."""
    found = []
    for experiment in evidence.experiments:
        for tangents in ("normal", "rademacher"):
            weights = {
                row["point"]: row for row in _single(evidence.laws(experiment, *_VARIANCE, tangents=tangents))
            }
            rows = evidence.laws(experiment, "activity_variance", "activity_perturbation", tangents=tangents)
            for row in _single(rows):
                if other := weights.get(row["point"]):
                    what = f"{tangents}, {row['point']} parameters"
                    found.append(mean_ratio(experiment.title, what, row, other, claimed="less"))
    if not found:
        return untested(f"the variance of perturbed activities and of perturbed weights: {_NO_LAWS}")
    return judged(found, "variance, as a multiple of that with perturbed weights")


def more_tangents_train_faster(evidence: Evidence) -> Judgement:
    """Judge whether the mean of several forward gradients takes fewer steps than one."""
    found, by_passes = [], []
    for experiment in evidence.experiments:
        for cell in evidence.cells(experiment, FORWARD_GRADIENT):
            single = evidence.plain(experiment, cell, num_tangents=1)
            if cell["num_tangents"] == 1 or single is None:
                continue
            one = _progress(evidence, experiment, cell, single)
            found.append(one)
            if one.what == _versus(cell, single):
                by_passes.append(one.value * cell["num_tangents"])
    if not found:
        return untested("forward gradients with one tangent and with several, trained on the same")
    note = (
        f"A step with K tangents takes K passes: counted so, {_range([ratio_text(one) for one in sorted(by_passes)])} "
        "the passes of a single tangent."
        if by_passes
        else ""
    )
    return judged(found, "steps, or loss, as a multiple of one tangent's", note=note)


def orthonormal_train_faster(evidence: Evidence) -> Judgement:
    """Judge whether orthonormalised tangents take fewer steps than the plain mean of as many."""
    return _trains_faster(evidence, "orthonormal_projection", "the plain mean of as many tangents")


def local_guesses_train_faster(evidence: Evidence) -> Judgement:
    """Judge whether directions guessed from local losses take fewer steps than random ones."""
    return _trains_faster(evidence, "local_guesses", "a forward gradient along a random direction")


def feedback_closer(evidence: Evidence) -> Judgement:
    """Judge whether estimates with feedback alignment point closer to the gradient than plain forward gradients."""
    found = []
    for experiment in evidence.experiments:
        for cell in evidence.cells(experiment, "feedback_alignment"):
            if (plain := evidence.plain(experiment, cell)) and (
                pair := evidence.cosines(experiment, cell, plain)
            ):
                what = f"{_versus(cell, plain)}, mean over {counted(pair[0]['points'], 'point')} of training"
                found.append(mean_difference(experiment.title, what, *pair))
    if not found:
        return untested(
            "a method with the estimator feedback_alignment, and a plain forward gradient, probed along training"
        )
    note = "One run of each was probed: the interval is that of its draws, not of runs."
    return judged(found, "cosine to the gradient, less a plain forward gradient's", note=note)


def feedback_trains_faster(evidence: Evidence) -> Judgement:
    """Judge whether forward gradients with feedback alignment take fewer steps than without."""
    return _trains_faster(evidence, "feedback_alignment", "a plain forward gradient")


def second_order_trains_faster(evidence: Evidence) -> Judgement:
    """Judge whether the second-order forward mode takes fewer steps than the first-order one."""
    return _trains_faster(evidence, "second_order_forward", "a plain forward gradient with as many tangents")


def _trains_faster(evidence: Evidence, estimator: str, other: str) -> Judgement:
    """Judge whether an estimator takes fewer steps than the forward gradient it is held against."""
    found = []
    for experiment in evidence.experiments:
        for cell in evidence.cells(experiment, estimator):
            if plain := evidence.plain(experiment, cell):
                found.append(_progress(evidence, experiment, cell, plain))
    if not found:
        reasons = [f"; {reason}" for reason in evidence.skipped(estimator)]
        return untested(f"a method with the estimator {estimator} trained beside {other}{''.join(reasons)}")
    return judged(found, "steps, or loss, as a multiple of the other's")


def _progress(evidence: Evidence, experiment: Experiment, cell: Row, other: Row) -> Measured:
    """Return the steps to the target by another's, or else the training loss after as many steps, which it says."""
    by, difference = evidence.progress(experiment, cell, other)
    what = _versus(cell, other)
    return measured(experiment.title, what if by == STEPS_TO_TARGET else f"{what}, loss", difference)


def _single(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["num_tangents"] == 1]


def _first_point(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the first point of training, which has the most draws: the law is the same at every point."""
    return [row for row in rows if row["point"] == rows[0]["point"]]


def _checkpointed(evidence: Evidence, metric: str, quantity: str, memory: float) -> Judgement:
    """Judge checkpointed backprop against a forward gradient where it takes no more than `memory` times its memory."""
    found, factors = [], []
    for experiment in evidence.experiments:
        for cell in evidence.cells(experiment, "checkpointed_backprop"):
            for other in evidence.cells(experiment, FORWARD_GRADIENT, num_tangents=1):
                factor = _memory(evidence, experiment, cell) / _memory(evidence, experiment, other)
                factors.append(factor)
                if factor <= memory:
                    scale = "difference" if metric == TEST_ACCURACY else "ratio"
                    difference = evidence.compared(experiment, cell, other, metric)
                    found.append(measured(experiment.title, _versus(cell, other), difference, scale=scale))  # type: ignore[arg-type]
    if not factors or all(map(math.isnan, factors)):
        return untested(
            "checkpointed backprop trained beside a forward gradient, and the memory of both measured"
        )
    known = [ratio_text(factor) for factor in sorted(factors) if math.isfinite(factor)]
    note = f"Checkpointed backprop takes {_range(known)} the memory of the forward gradient"
    if not found:
        return untested(f"comparable memory, up to {memory:g}× here: {note[0].lower()}{note[1:]}")
    note = f"{note}; comparable is up to {memory:g}×."
    return judged(found, quantity, note=note, timed=metric == TIME_TO_TARGET)


def _in_some_case(found: Sequence[Measured], quantity: str, speed_up: float) -> Judgement:
    """Return the verdict on a speed-up that is claimed for some case only.

    It holds if one is faster by that much or more, only if a smaller gain counts if one is faster, and does not hold
    if all are slower. The end of an interval never decides: noise would help the claim.
    """
    every = weighed(found)
    faster = min((one for one in every if one.says == FOR), key=lambda one: one.value, default=None)
    if faster and 1 / faster.value >= speed_up:
        verdict, reason = HOLDS, ""
    elif faster:
        best = ratio_text(1 / faster.value, 1 / faster.high, 1 / faster.low)
        verdict, reason = (
            PARTLY,
            f"a gain of less than {speed_up:g}× counts: at best {best}, {faster.where}, {faster.what}",
        )
    elif all(one.says == AGAINST for one in every):
        verdict, reason = FAILS, ""
    else:
        slower = sum(one.says == AGAINST for one in every)
        verdict, reason = (
            UNRESOLVED,
            f"slower in {slower} of {counted(len(every), 'comparison')}, faster in none",
        )
    return Judgement(verdict, reason, quantity, figure_text(every), "", every, (1 / speed_up,), timed=True)


def _step_rows(evidence: Evidence, case: Case, *, num_tangents: int | None = None) -> list[Row]:
    """Return the comparisons of a case's forward gradients with backprop on the same engine, eager first."""
    methods = _forward_methods(evidence.tables)
    if num_tangents is not None:
        cells = evidence.tables["cells"]
        methods &= {*cells["method"][(cells["num_tangents"] == num_tangents).fillna(False)]}
    rows = case.tables["step_ratios"]
    rows = rows[
        rows["method"].isin(methods)
        & (rows["against"] == case.baseline)
        & (rows["engine"] == rows["against_engine"])
    ]
    return sorted(rows.to_dict("records"), key=lambda row: (row["method"], row["engine"] != EAGER))


def _step(case: Case, row: Row, *, claimed: str) -> Measured:
    what = f"{row['method']} against {row['against']}, {row['engine']}"
    says = said(row["verdict"], claimed=claimed)
    return Measured(case.title, what, row["ratio"], row["low"], row["high"], row["p_value"], says)


def _slow_engines(case: Case) -> set[str]:
    """Return the engines on which the baseline is slower than eager: to beat it there proves nothing."""
    rows = case.tables["step_ratios"]
    against_eager = (rows["method"] == case.baseline) & (rows["against"] == case.baseline)
    against_eager &= (rows["engine"] != EAGER) & (rows["against_engine"] == EAGER)
    return set(rows["engine"][against_eager & (rows["verdict"] == "worse")])


def _forward_methods(tables: Tables) -> set[str]:
    """Return the forward gradients that the study trains; where it trains none, those that it measures."""
    cells, times = tables["cells"], tables["step_times"]
    trained = set(cells["method"][cells["estimator"] == FORWARD_GRADIENT])
    return trained or set(times["method"][times["part"] == "product"])


def _by_comparisons(evidence: Evidence, methods: Set[str], metric: str, *, claimed: str) -> list[Measured]:
    """Return how far methods are from the baseline, as the table `comparisons` has it.

    Where not every pair is complete there is no figure: only the lucky are left.
    """
    rows = evidence.tables["comparisons"]
    rows = rows[(rows["metric"] == metric) & rows["method"].isin(methods)]
    found = []
    for experiment in evidence.experiments:
        for row in experiment.rows(rows).to_dict("records"):
            what = f"{row['method']} against {row['baseline']}"
            if row["unpaired"] or not row["pairs"]:
                found.append(measured(experiment.title, what, None, scale=row["scale"]))
                continue
            numbers = (row["mean"], row["low"], row["high"], row["p_value"])
            says = said(row["verdict"], claimed=claimed)
            found.append(Measured(experiment.title, what, *numbers, says=says, scale=row["scale"]))
    return found


def _versus(cell: Row, other: Row) -> str:
    return f"{cell['method']} against {other['method']}"


def _exponent(where: str, what: str, values: pd.Series[Any]) -> Measured:
    law = power_law(values.index.to_numpy(dtype=float), values.to_numpy(dtype=float))
    return Measured(where, what, law.exponent, *ends(law.interval), math.nan, OPEN, "number")


def _memory(evidence: Evidence, experiment: Experiment, cell: Row) -> float:
    rows = experiment.rows(evidence.tables["step_memory"])
    own = rows[(rows["method"] == cell["method"]) & (rows["device"] == "cpu")]["peak_memory_bytes"]
    return float(own.iloc[0]) if len(own) and own.iloc[0] > 0 else math.nan


def _trials(evidence: Evidence, experiment: Experiment, cell: Row) -> pd.Series[float]:
    """Return the validation losses, by seed, of a method's trials at the rate that was chosen for it."""
    rates, trials = (experiment.rows(evidence.tables[name]) for name in ("rates", "trials"))
    chosen = rates["learning_rate"][rates["method"] == cell["method"]]
    return _losses(trials[(trials["method"] == cell["method"]) & trials["learning_rate"].isin(chosen)])


def _losses(trials: pd.DataFrame) -> pd.Series[float]:
    return trials.set_index("seed")["validation_loss"].astype("float64").fillna(math.inf)


def _endings(where: str, what: str, mine: pd.Series[float], others: pd.Series[float]) -> Measured:
    """Return the validation loss of trials by that of others, paired by seed, for a claim that it is less.

    Where one diverged there is no interval, and the sign test over the seeds decides.
    """
    pairs = pd.concat([mine, others], axis=1, join="inner").to_numpy()
    if np.isfinite(pairs).all():
        return measured(where, what, paired_ratio(*pairs.T))
    larger = (pairs[:, 0] > pairs[:, 1]).astype(float) - (pairs[:, 0] < pairs[:, 1]).astype(float)
    p_value, worse = sign_test_p_value(larger), larger.sum() > 0
    says = OPEN if p_value >= SIGNIFICANCE else AGAINST if worse else FOR
    return Measured(where, what, math.inf if worse else 0.0, math.nan, math.nan, p_value, says)


def _range(texts: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys([texts[0], texts[-1]]))


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_LISTED]) + (f"; {len(texts) - _LISTED} more" if len(texts) > _LISTED else "")


def _complaints(place: int, entry: Mapping[Any, Any]) -> Iterable[str]:
    """Yield what is wrong with an entry of a file of claims."""
    name = f"entry {place + 1}" if not isinstance(entry.get("id"), str) else entry["id"]
    for key in sorted({*_TEXTS, *entry} - {*_OPTIONAL}, key=str):
        if key not in _TEXTS:
            yield f"{name}: unknown key {key!r}; accepted: {', '.join([*_TEXTS, *_OPTIONAL])}"
        elif not isinstance(entry.get(key), str) or not entry[key].strip():
            yield f"{name}.{key}: a text was expected, {entry.get(key)!r} found"
    for key, accepted in _CHOICES.items():
        if isinstance(entry.get(key), str) and entry[key] not in accepted:
            yield f"{name}.{key}: {entry[key]!r} is not accepted; accepted: {' or '.join(map(repr, accepted))}"
    if not isinstance(entry.get("note", ""), str):
        yield f"{name}.note: a text was expected, {entry['note']!r} found"
    yield from _parameter_complaints(name, entry.get("parameters", {}))


def _parameter_complaints(name: str, parameters: Any) -> Iterable[str]:
    """Yield why parameters are not those of a claim's function, or that it has none."""
    if not isinstance(parameters, Mapping):
        yield f"{name}.parameters: a mapping of names to numbers was expected, {parameters!r} found"
        return
    for key, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{name}.parameters.{key}: a number was expected, {value!r} found"
    if name not in CLAIMS:
        yield f"{name}: has no function; claims.CLAIMS has {', '.join(CLAIMS)}"
        return
    asked = [
        one.name
        for one in inspect.signature(CLAIMS[name]).parameters.values()
        if one.kind == one.KEYWORD_ONLY
    ]
    if {*asked} != {*parameters}:
        given = joined([*map(str, parameters)]) or "none"
        yield f"{name}.parameters: {given} given; its function asks for {joined(asked) or 'none'}"


_TEXTS = ("id", "name", "claim", "words", "cite", "source", "evidence", "needs")
_OPTIONAL = ("note", "parameters")
_CHOICES = {"words": (QUOTED, PARAPHRASED), "evidence": (READ, READ_ABOUT)}

_NAMED = frozenset({HOLDS, PARTLY, FAILS})
"""Verdicts whose claims the overview names."""

_COUNTED = {
    HOLDS: ("holds", "hold"),
    PARTLY: ("holds on a condition", "hold on a condition"),
    FAILS: ("does not hold", "do not hold"),
    UNRESOLVED: ("is not resolved", "are not resolved"),
    UNTESTED: ("cannot be tested here", "cannot be tested here"),
}
"""One claim, and several."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is built in

_LISTED = 6
"""Figures that a note lists; a table has them all."""

_ROUNDING = 1e-9
"""What rounding leaves of a slope of zero."""

_VARIANCE = ("variance", FORWARD_GRADIENT)

_NO_LAWS = "this study measured no laws"
_TUNED_NOTHING = "this study tuned nothing"

CLAIMS: dict[str, ClaimFunction] = {
    "faster_step": faster_step,
    "faster_to_target": faster_to_target,
    "cheaper_step": cheaper_step,
    "no_speed_up": no_speed_up,
    "as_many_steps": as_many_steps,
    "less_accurate": less_accurate,
    "better_at_a_shared_rate": better_at_a_shared_rate,
    "ends_lower_when_tuned": ends_lower_when_tuned,
    "rate_smaller_by_dimension": rate_smaller_by_dimension,
    "gap_grows": gap_grows,
    "rademacher_varies_least": rademacher_varies_least,
    "more_tangents_closer": more_tangents_closer,
    "more_tangents_train_faster": more_tangents_train_faster,
    "orthonormal_closer": orthonormal_closer,
    "orthonormal_train_faster": orthonormal_train_faster,
    "activities_vary_less": activities_vary_less,
    "local_guesses_train_faster": local_guesses_train_faster,
    "feedback_closer": feedback_closer,
    "feedback_trains_faster": feedback_trains_faster,
    "second_order_trains_faster": second_order_trains_faster,
    "flat_in_depth": flat_in_depth,
    "checkpointing_more_accurate": checkpointing_more_accurate,
    "checkpointing_faster": checkpointing_faster,
    "inference_memory": inference_memory,
}
"""Of each entry of `claims.yaml`, by its id, the function that judges it."""
