"""Pages for the tests in a real browser: reports of studies that ran, or never ran, and what looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import records
import yaml
from law_records import law_record
from probe_records import probe_records
from studies import cost_commands, fgbench, study_commands, tables_command
from support import with_claims
from tuning_records import tuning_record

from fgbench.config import checked, write_config
from fgbench.page import css_string
from fgbench.report import render
from fgbench.tables import study_tables

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[1]
OPEN_ALL = "document.querySelectorAll('details').forEach(one => one.open = true)"
TORN = (
    "backprop",
    "<script>throw 1</script>お",
    "<script>throw 1</script>",
    "long" * 40,
    """it's a "name" \\ {} </style> ]:not(x)""",
)
"""Names that the config refuses, and of which each still is to be shown, and hidden, for itself."""


@dataclass(frozen=True)
class Report:
    """A page as a file, and the tables that it was made from."""

    path: Path
    tables: dict[str, pd.DataFrame]

    @property
    def address(self) -> str:
        return self.path.as_uri()


def smoke_report(folder: Path, mirror: Path) -> Report:
    """Run every command of config/smoke.yaml, real data from `mirror`; return its report."""
    results, study = folder / "results", yaml.safe_load((ROOT / "config/smoke.yaml").read_text("utf-8"))
    study |= {"results": str(results), "references": [str(ROOT / "references/smoke.json")]}
    study["data"] |= {"folder": str(folder / "resources"), "mirrors": [str(mirror)]}
    write_config(results / "config.yaml", checked(study))
    page = results / "report.html"
    commands = [*study_commands(results).values(), *cost_commands(results), tables_command(results)]
    commands.append(f"verify {results} --output {results}/verification.json")
    for command in commands:
        assert fgbench(command) == 0, command
    assert fgbench(_report_command(results, page)) == 0
    return Report(page, {path.stem: pd.read_csv(path) for path in results.glob("tables/*.csv")})


def made_report(
    folder: Path, methods: Sequence[str], *, runs: list[records.Record] | None = None, **changes: Any
) -> Report:
    """Write the report of a study that never ran; return it.

    Of the runs given, or of two experiments with these methods, whose steps, rates, laws and estimates were looked
    at too. `changes` are other arguments of `render`.
    """
    found = _runs(tuple(methods)) if runs is None else runs
    nudged = records.nudged(found, 1e-3, num_runs=20) if runs is None else found
    arguments: dict[str, Any] = {
        "tables": _tables(tuple(methods)) if runs is None else study_tables(runs),
        "data": records.metadata(),
        "samples": records.samples(),
        "config": records.CONFIG | {"note": "x" * 300},
        "provenance": records.study_provenance(found),
        "verification": records.verified(nudged, against=found),
        "rendered": "2026-05-06 07:08 UTC",
    } | changes
    path = folder / "report.html"
    arguments["tables"] = with_claims(arguments["tables"])
    path.write_text(render(**arguments), encoding="utf-8")
    return Report(path, arguments["tables"])


@contextmanager
def visit(browser: Browser, address: str, *, width: int = 1280, **options: Any) -> Iterator[Page]:
    """Open an address in a browser of its own; at the end no file was asked for and nothing complained."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    page = context.new_page()
    requests, complaints = list[str](), list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    plain = address.partition("#")[0]
    assert not [url for url in requests if not url.startswith((plain, "data:", "blob:"))]
    assert complaints == []


def violations(page: Page, *, within: Sequence[str] = ("html",), contrast: bool = True) -> list[str]:
    """Return what axe-core finds wrong in these places of the page as it is; `contrast` is what takes it long.

    The page's policy must be bypassed, for axe's own script.
    """
    import axe_playwright_python

    source = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(source)
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": contrast}}}
    found = page.evaluate("(asked) => axe.run(...asked)", [{"include": [*within]}, options])["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:3]}" for one in found
    ]


def of_method(method: str) -> str:
    """Return the selector of whatever leaves the page with a method."""
    return f'[data-method="{css_string(method)}"]'


def overflowing(page: Page, *, scrolling: str = ".scroll, pre, .formula") -> list[str]:
    """Return what reaches beyond the page's right edge, but for what is `scrolling` in a box of its own."""
    found: list[str] = page.evaluate(
        """(apart) => [...document.querySelectorAll("body *")].filter((one) =>
            one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
            && !one.closest(apart)).map((one) => one.outerHTML.slice(0, 120))""",
        ", ".join(filter(None, ["svg", ".unseen", scrolling])),
    )
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found + ([f"the page scrolls sideways by {wide} px"] if wide > 0 else [])


def colour(found: Locator, name: str) -> str:
    """Return a computed colour as #rrggbb."""
    text = found.first.evaluate(f"element => getComputedStyle(element).{name}")
    parts = text.removeprefix("rgb(").removesuffix(")").split(",")
    return "#" + "".join(f"{int(part):02x}" for part in parts)


def _report_command(results: Path, page: Path) -> str:
    names = [path.stem for path in sorted((results / "data").glob("*.json"))]
    samples = " ".join(f"{results}/data/{name}.npz" for name in names)
    metadata = " ".join(f"{results}/data/{name}.json" for name in names)
    return (
        f"report --config {results}/config.yaml --tables {results}/tables --samples {samples} "
        f"--metadata {metadata} --provenance {results}/provenance.json "
        f"--verification {results}/verification.json --output {page}"
    )


@cache
def _runs(methods: tuple[str, ...]) -> list[records.Record]:
    runs = records.run_records(methods=methods)
    return [record for record in runs if record["model"] != "logistic_regression"]


@cache
def _tables(methods: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    runs = _runs(methods)
    best = {method: 0.3 / 10 ** min(place, 3) for place, method in enumerate(methods)}
    return study_tables(
        runs,
        operations=records.operations_record(runs),
        cost=records.cost_record(runs, rounds=6, noise=0.05, load=records.NOISY, cuda=True),
        scaling=records.scaling_record(methods=methods[:2]),
        tuning=[tuning_record(best=best)],
        laws=[law_record()],
        probes=probe_records([record for record in runs if record["model"] == "mlp"]),
    )
