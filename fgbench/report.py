"""Tables, samples, provenance and verdicts enter; the report leaves: one HTML page that asks for no other file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from fgbench import findings
from fgbench.answers import answer
from fgbench.axes_findings import axes_overview
from fgbench.axes_report import Spent, pooled, spent
from fgbench.claims import claims_in
from fgbench.claims import overview as claims_overview
from fgbench.claims_report import Claims, claims_section
from fgbench.cost_findings import measured_methods
from fgbench.cost_report import cost_section
from fgbench.curves_report import Curves, learning_curves
from fgbench.errors_report import Arrays, Errors, errors_part
from fgbench.findings import Experiment, Tables
from fgbench.law_report import laws_section
from fgbench.page import load_templates, page
from fgbench.parallel import together, uncollected
from fgbench.pieces import Column, Table, of_methods, words
from fgbench.probe_report import probes_section
from fgbench.summary_report import comparison_chart, comparison_table, summary_table
from fgbench.svg import Style, method_styles
from fgbench.tables import COLUMNS, KEY
from fgbench.tuning_report import tuning_section
from fgbench.types import Json
from fgbench.verification import (
    DIFFERS,
    IDENTICAL,
    NOT_COMPARABLE,
    NOT_VERIFIED,
    TOLERANCES,
    VOLATILE,
    WITHIN,
    Tolerance,
)
from fgbench.verification_findings import pair_texts, verdict_text, why_text
from fgbench.wording import (
    ABSENT,
    count_text,
    counted,
    joined,
)
from fgbench.workflow_drawing import workflow

Facts: TypeAlias = Mapping[str, str]
Blocks: TypeAlias = Sequence[tuple[str, Facts]]

RUNS_SHOWN = 12
"""Runs other than their reference shown at most; the total is said, and `verification.json` has them all."""


@dataclass(frozen=True)
class Reference:
    """What a study was compared with: its facts, and those of each maker of its runs, by what it made."""

    name: str
    facts: Facts
    makers: Blocks


@dataclass(frozen=True)
class Differences:
    """Runs that are not their reference's, each with a row for every number that is another."""

    caption: str
    columns: Sequence[Column]
    runs: Sequence[tuple[str, Sequence[Sequence[str]]]]


@dataclass(frozen=True)
class Reproduction:
    """Whether a rerun gives the study's numbers: the verdict, and all that it rests on.

    `state` is the verdict's name in the style sheet, `sign` what tells it without colour; `command` repeats it.
    `operations` are the counts that are not the reference's, `uncounted` the cells whose count no reference holds.
    """

    state: str
    sign: str
    verdict: str
    volatile: Sequence[str]
    cells: Table | None
    differences: Differences | None
    operations: Table | None
    uncounted: Sequence[str]
    tolerances: Sequence[Tolerance]
    absent: Sequence[str]
    why: str
    references: Sequence[Reference]
    command: str


@dataclass(frozen=True)
class Result:
    """A file of the study's: where it lies, what made it."""

    path: str
    command: str
    origin: str


@dataclass(frozen=True)
class Again:
    """The commands that make a study again: all of it, with its config in a file of that name, and each cell alone."""

    config: str
    whole: str
    cells: Facts


@dataclass(frozen=True)
class Making:
    """How the study was made: facts of each maker by what it made, each result, the config, how to make it again."""

    makers: Blocks
    results: Sequence[Result]
    identity: Facts
    config: str
    again: Again
    citation: str


@dataclass(frozen=True)
class Adjudicated:
    """What is said of the literature's claims at the page's top, and their section."""

    overview: Sequence[str]
    section: Claims


@dataclass(frozen=True)
class Section:
    """All that the report shows of one experiment."""

    key: str
    title: str
    data_title: str
    findings: Sequence[str]
    more: Sequence[str]
    rates: str
    settings: Table
    curves: Curves
    spent: Spent | None
    errors: Errors


@uncollected()
def render(
    *,
    tables: Tables,
    data: Mapping[str, Json],
    samples: Mapping[str, Arrays],
    config: Json,
    provenance: Json,
    verification: Json,
    rendered: str,
    processes: int = 1,
) -> str:
    """Return the report as one HTML page, the same bytes for the same arguments, by however many `processes`.

    `tables` are those of `study_tables` and of `claim_tables`; `data` and `samples` hold, by the name asked for, each
    data set's metadata, and its `inputs` [N, features] or uint8 [N, height, width] and `labels` [N]; `config` is
    resolved; `provenance` is what `study_provenance` returned, `verification` what `verification` did. Dates, and
    `rendered`, when this was called, stand in one element alone, marked `data-volatile`.
    """
    every_style = method_styles(measured_methods(tables))
    styles = {method: every_style[method] for method in findings.methods(tables)}
    calls: list[Callable[[], Any]] = [partial(_claims, tables)]
    calls += [
        partial(_section, tables, one, f"e{place}", styles, data[one.dataset], samples[one.dataset])
        for place, one in enumerate(findings.experiments(tables))
    ]
    calls += [
        partial(cost_section, tables, every_style),
        partial(tuning_section, tables, styles),
        partial(probes_section, tables, styles),
        partial(laws_section, tables),
        partial(answer, tables, styles, list(data.values()), config["datasets"]),
        partial(pooled, tables, styles),
        partial(_overview, tables),
        partial(comparison_chart, tables),
    ]
    claims, *sections, cost, tuning, probes, laws, answered, over_all, told, compared = together(
        calls, processes=processes, meanwhile=load_templates
    )
    return page(
        "report.html.j2",
        tables=tables,
        filtered=[*every_style],
        answer=answered,
        question=findings.question(tables),
        asked=findings.asked(tables),
        overview=[*told, *claims.overview],
        claims=claims.section,
        stand_ins=[one for one in data.values() if one["asked_for"] != one["used"]],
        summary=summary_table(tables),
        comparisons=comparison_table(tables),
        compared=compared,
        pooled=over_all,
        sections=sections,
        cost=cost,
        tuning=tuning,
        laws=laws,
        probes=probes,
        reproduction=_reproduction(verification, tables, config),
        data=list(data.values()),
        making=_making(provenance, config),
        workflow=workflow(provenance, num_tables=len(tables)),
        dates=_dates(provenance, verification, rendered),
        columns=COLUMNS,
    )


def _overview(tables: Tables) -> list[str]:
    return [*findings.overview(tables), *axes_overview(tables)]


def _claims(tables: Tables) -> Adjudicated:
    judged = claims_in(tables)
    return Adjudicated(claims_overview(judged), claims_section(judged, tables))


def _section(
    tables: Tables,
    experiment: Experiment,
    key: str,
    styles: Mapping[str, Style],
    metadata: Json,
    samples: Arrays,
) -> Section:
    own = {name: experiment.rows(table) if "dataset" in table else table for name, table in tables.items()}
    present = [method for method in styles if (own["cells"]["method"] == method).any()]
    drawn = {method: style for method, style in styles.items() if (own["curves"]["method"] == method).any()}
    every = findings.experiment_findings(tables, experiment)
    few = len(present) <= findings.MOST_TOLD + 1
    return Section(
        key=key,
        title=experiment.title,
        data_title=metadata["title"],
        findings=every if few else findings.grouped_findings(tables, experiment),
        more=() if few else every,
        rates=findings.rates_note(own["cells"], own["rates"]),
        settings=_settings_table(own["cells"], experiment, present),
        curves=learning_curves(own, experiment, key, drawn),
        spent=spent(tables, experiment, key, drawn),
        errors=errors_part(own, experiment, present, key, metadata, samples),
    )


def _settings_table(cells: pd.DataFrame, experiment: Experiment, present: Sequence[str]) -> Table:
    by_method = {row["method"]: row for row in cells.to_dict("records")}
    rows = [
        [_words(name), *(_setting(by_method[method][name]) for method in present)]
        for name in COLUMNS["cells"]
        if name not in KEY and (cells[name].astype("str") != "").any()
    ]
    columns = [*words("Setting"), *of_methods(present)]
    return Table(f"Settings of {experiment.title}", columns, rows)


def _setting(value: Any) -> str:
    if pd.isna(value) or value == "":
        return ABSENT
    return (
        value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else count_text(value)
    )


def _words(name: str) -> str:
    return name.replace("num_", "number of ").replace("_", " ")


def _reproduction(verification: Json, tables: Tables, config: Json) -> Reproduction:
    names = [reference["name"] for reference in verification["references"]]
    order = [*product(findings.experiments(tables), findings.methods(tables))]
    cells = sorted(
        verification["cells"], key=lambda cell: order.index((_experiment_of(cell), cell["method"]))
    )
    return Reproduction(
        state=verification["verdict"].replace(" ", "-"),
        sign=_SIGNS[verification["verdict"]],
        verdict=verdict_text(verification),
        volatile=VOLATILE,
        cells=_verdicts_table(cells) if names else None,
        differences=_differences(cells),
        operations=_operation_differences(verification["operations"]["differing"]),
        uncounted=verification["operations"]["not_comparable"] if names else [],
        tolerances=TOLERANCES,
        absent=verification["absent"],
        why=why_text(verification),
        references=[_reference(one) for one in verification["references"]],
        command=shlex.join(["fgbench", "verify", config["results"], "--against", *(names or ["REFERENCE"])]),
    )


def _verdicts_table(cells: Sequence[Json]) -> Table:
    columns = [
        Column("Experiment, method", is_number=False),
        *(Column(verdict.capitalize()) for verdict in _RUN_VERDICTS),
        Column("Reference, or why not comparable", is_number=False),
    ]
    rows = []
    for cell in cells:
        verdicts = [run["verdict"] for run in cell["runs"]]
        counts = [str(verdicts.count(verdict)) for verdict in _RUN_VERDICTS]
        rows.append([_cell_text(cell), *counts, cell["reference"] or cell["reason"]])
    return Table("Each cell's runs by how they compare with the reference.", columns, rows)


def _differences(cells: Sequence[Json]) -> Differences | None:
    """Return the runs that are not identical, those that differ first, or None where there are none."""
    found = [(cell, run) for cell in cells for run in cell["runs"] if run.get("quantities")]
    if not found:
        return None
    ordered = sorted(found, key=lambda one: one[1]["verdict"] != DIFFERS)
    caption = f"{counted(len(found), 'run')} not identical"
    if len(found) > RUNS_SHOWN:
        caption += f", {RUNS_SHOWN} shown, {len(found) - RUNS_SHOWN} more in verification.json"
    caption += ". Each number that is not its reference's is given at the step where it lies farthest off."
    columns = [
        Column("Quantity", is_number=False),
        *(Column(title) for title in ("At step", "Here", "Reference", "Off by", "Allowed")),
    ]
    runs = [(_run_text(cell, run), _difference_rows(run)) for cell, run in ordered[:RUNS_SHOWN]]
    return Differences(caption, columns, runs)


def _operation_differences(differing: Sequence[Json]) -> Table | None:
    """Return the counts of operations that are not their reference's, or None where all are."""
    if not differing:
        return None
    columns = [
        Column("Dataset/model/method", is_number=False),
        Column("Here"),
        Column("Reference"),
        Column("Compared with", is_number=False),
    ]
    rows = [[one["cell"], f"{one['here']:,}", f"{one['there']:,}", one["reference"]] for one in differing]
    return Table("Counted operations of a step that are not the reference's.", columns, rows)


def _run_text(cell: Json, run: Json) -> str:
    parted = run["parts_at_step"]
    start = "no curve parts" if parted is None else f"curves part at step {count_text(parted)}"
    return f"{_cell_text(cell)}, seed {run['seed']}: {run['verdict']}; {start}"


def _difference_rows(run: Json) -> list[list[str]]:
    others = [found for found in run["quantities"] if found["verdict"] != IDENTICAL]
    if not others:
        return [["none of those that the reference keeps", *5 * [ABSENT]]]
    return [_difference_cells(found) for found in others]


def _difference_cells(found: Json) -> list[str]:
    here, reference, allowed = found["here"], found["reference"], found["tolerance"]
    is_measured = allowed is not None and here is not None and reference is not None
    return [
        found["quantity"],
        count_text(found["step"]),
        *pair_texts(here, reference),
        f"{abs(here - reference):.2g}" if is_measured else ABSENT,
        "none" if allowed is None else f"{allowed:.2g}",
    ]


def _cell_text(cell: Json) -> str:
    return f"{_experiment_of(cell).title}, {cell['method']}"


def _experiment_of(cell: Json) -> Experiment:
    return Experiment(cell["dataset"], cell["data"], cell["model"])


def _reference(reference: Json) -> Reference:
    made = reference["made"]
    data = [f"{one['used']}, samples' SHA-256 {one['samples_sha256']}" for one in made["data"]]
    facts = {
        "SHA-256 of its content": reference["sha256"],
        "Command": made["command"],
        "SHA-256 of the config": made["config_sha256"],
        "Data": "; ".join(data),
    }
    num_makers = len(made["makers"])
    titles = [f"Maker {place} of {num_makers}" for place in range(1, num_makers + 1)]
    return Reference(reference["name"], facts, _makers(made["makers"], titles, "What made it"))


def _making(provenance: Json, config: Json) -> Making:
    import yaml

    results = provenance["results"]
    return Making(
        makers=_makers(
            provenance["makers"],
            [_made_text(results, maker) for maker in range(len(provenance["makers"]))],
            f"Made all {counted(len(results), 'result')}",
        ),
        results=[_result(result) for result in results],
        identity={
            "SHA-256 of the config": provenance["config_sha256"],
            "SHA-256 of all runs": provenance["study_sha256"],
            "Seeds": findings.seeds_text(provenance["seeds"]),
        },
        config=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        again=_again(provenance, config),
        citation=_citation(),
    )


def _citation() -> str:
    """Return how fgbench is cited, as BibTeX, from CITATION.cff."""
    import yaml

    cited = yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{author['name']}}}" for author in cited["authors"])
    return (
        f"@software{{fgbench,\n  title = {{{cited['title']}}},\n  author = {{{authors}}},\n"
        f"  version = {{{cited['version']}}},\n  license = {{{cited['license']}}}\n}}"
    )


def _again(provenance: Json, config: Json) -> Again:
    of_tables = [one["maker"] for one in provenance["results"] if shlex.split(one["command"])[1] == "tables"]
    maker = provenance["makers"][of_tables[0] if of_tables else 0]
    lost = "  # and the changes that were not committed" if maker["dirty"] else ""
    snakemake = [".venv/bin/snakemake", "--cores", "1", "--configfile", _CONFIG]
    files: dict[str, list[str]] = {}
    for result in provenance["results"]:
        if shlex.split(result["command"])[1] == "train":
            path = Path(config["results"], result["path"])
            files.setdefault("/".join(path.parts[-4:-1]), []).append(str(path))
    return Again(
        config=_CONFIG,
        whole=f"git checkout {maker['commit']}{lost}\nmake report CONFIG={_CONFIG}",
        cells={cell: shlex.join([*snakemake, "--", *paths]) for cell, paths in files.items()},
    )


def _makers(makers: Sequence[Json], titles: Sequence[str], together: str) -> Blocks:
    """Return what the makers share under the title `together`, then what each has of its own under its title."""
    facts = [_maker_facts(maker) for maker in makers]
    shared = {name: text for name, text in facts[0].items() if all(other[name] == text for other in facts)}
    own = [{name: one[name] for name in one if name not in shared} for one in facts]
    return [(together, shared), *((title, one) for title, one in zip(titles, own, strict=True) if one)]


def _maker_facts(maker: Json) -> Facts:
    dirty = {True: ", and changes that were not committed", False: "", None: ""}[maker["dirty"]]
    pins = [f"{name}={value}" for name, value in maker["pins"].items()]
    return {
        "Commit": f"{maker['commit']}{dirty}",
        "Processor": maker["cpu"],
        "Instruction set": maker["instruction_set"],
        "Pins": ", ".join(pins) or "none: native, the processor's own instruction set",
        "Math threads": str(maker["threads"]),
        "Operating system": maker["os"],
        "Versions": ", ".join(f"{name} {version}" for name, version in maker["versions"].items()),
        "SHA-256 of the versions": maker["versions_sha256"],
    }


def _made_text(results: Sequence[Json], maker: int) -> str:
    commands = [shlex.split(result["command"])[1] for result in results if result["maker"] == maker]
    kinds = joined([_KINDS.get(command, command) for command in dict.fromkeys(commands)])
    return f"Made {len(commands)} of {counted(len(results), 'result')}: {kinds}"


def _result(result: Json) -> Result:
    seeds = "no seeds" if result["seeds"] is None else f"seeds {findings.seeds_text(result['seeds'])}"
    origin = f"code {result['code_hash']}; config {result['config_sha256']}; {seeds}"
    return Result(result["path"], result["command"], origin)


def _dates(provenance: Json, verification: Json, rendered: str) -> Facts:
    finished = sorted(_date_text(result["finished"]) for result in provenance["results"])
    return {
        "Results finished": " to ".join(dict.fromkeys([finished[0], finished[-1]])),
        **{
            f"Reference {reference['name']} finished": _date_text(reference["made"]["finished"])
            for reference in verification["references"]
        },
        "Page rendered": rendered,
    }


def _date_text(finished: str) -> str:
    return f"{finished[:10]} {finished[11:16]} UTC"


_CONFIG = "study.yaml"
_RUN_VERDICTS = (IDENTICAL, WITHIN, DIFFERS, NOT_COMPARABLE)
_SIGNS = {IDENTICAL: "✓", WITHIN: "≈", DIFFERS: "≠", NOT_COMPARABLE: "?", NOT_VERIFIED: "?"}
_KINDS = {
    "train": "training",
    "operations": "operations",
    "cost": "cost of a step",
    "scaling": "scaling",
    "tables": "tables",
}
