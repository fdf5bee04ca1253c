"""Imports flow one way, and what reads no tensor does without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from fgbench.sources import PACKAGE, imports_in, imports_of

PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in PATHS.items()}
IMPORTS = {module: set(imports_of(tree)) for module, tree in TREES.items()}

TORCH_FREE = [
    module
    for module in (
        "__main__",
        "errors",
        "types",
        "digests",
        "numerics",
        "sources",
        "storage",
        "config",
        "progress",
        "provenance",
        "recovery",
        "results",
        "verification",
        "verification_findings",
        "statistics",
        "tidy",
        "cost_tables",
        "tables",
        "svg",
        "headings",
        "pieces",
        "figures",
        "findings",
        "wording",
        "cost_figures",
        "cost_findings",
        "cost_charts",
        "cost_report",
        "theory",
        "tuned",
        *(f"tuning_{part}" for part in ("tables", "figures", "findings", "report")),
        *(f"law_{part}" for part in ("tables", "figures", "findings", "charts", "report")),
        *(f"probe_{part}" for part in ("tables", "figures", "findings", "report")),
        *(f"errors_{part}" for part in ("figures", "findings", "report")),
        *(
            "axes",
            "axes_findings",
            "axes_report",
            "judgements",
            "evidence",
            "forest",
            "claims",
            "claims_report",
        ),
        *("comparing", "compare_findings", "compare_report"),
        *("page", "answer_figures", "answers", "curves_report", "summary_report", "parallel"),
        "workflow_drawing",
        "plugins",
        "terminal",
        "report",
        "pins",
        "cli",
    )
    if module in PATHS
]
TORCH = {"torch", "torchvision"}


def at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when a module is imported: none within a function, none for type checkers."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from at_import([*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With):
            yield from at_import(node.body)


def packages_at_import(module: str) -> set[str]:
    """The top-level packages that a module imports when it is imported, by itself."""
    names = set()
    for node in at_import(TREES[module].body):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        names |= {name.split(".")[0] for name in modules}
    return names


def reached_at_import(module: str) -> set[str]:
    """The module and those of this package that it imports when it is imported, at any depth."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [inner for node in at_import(TREES[name].body) for inner in imports_of(node)]
            waiting += [name.rpartition(".")[0]] if "." in name else []
    return found


def below(module: str) -> set[str]:
    """All modules that a module imports anywhere, at any depth."""
    found: set[str] = set()
    waiting = [*IMPORTS[module]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += IMPORTS[name]
    return found


def family(*names: str) -> list[str]:
    """The modules of these names, and of the packages of these names."""
    return [module for module in PATHS if module.split(".")[0] in names]


@pytest.mark.parametrize("module", PATHS)
def test_a_module_opens_with_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(TREES[module])


@pytest.mark.parametrize("module", PATHS)
def test_imports_name_the_package_in_full(module: str) -> None:
    relative = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative
    assert IMPORTS[module] <= PATHS.keys()


@pytest.mark.parametrize("module", PATHS)
def test_what_lines_import_is_what_the_parsed_module_imports(module: str) -> None:
    assert {*imports_in(PATHS[module].read_text(encoding="utf-8"))} == IMPORTS[module]


def test_names_are_found_however_they_are_imported() -> None:
    text = "import fgbench.a\nif x:\n    from fgbench import (\n        b,\n        c as d,\n    )\n"
    text += "from fgbench.e.f import g\n"
    assert imports_in(text + '"""from fgbench.no import h"""\nx = "from fgbench.no import h"\n') == (
        "a",
        "b",
        "c",
        "e.f",
    )
    assert {*imports_of(ast.parse(text))} == {"a", "b", "c", "e.f"}


def test_no_imports_go_round_in_a_circle() -> None:
    assert list(TopologicalSorter(IMPORTS).static_order())


@pytest.mark.parametrize(
    "module",
    family(
        *("errors", "types", "digests", "numerics", "seeding", "sources", "progress", "wording", "pins"),
        "parallel",
    ),
)
def test_what_all_build_on_builds_on_nothing_but_types_and_errors(module: str) -> None:
    assert IMPORTS[module] <= {"errors", "types"}


def test_nothing_imports_cli_but_the_entry_point() -> None:
    assert [module for module in PATHS if "cli" in IMPORTS[module]] == ["__main__"]


ESTIMATING = set(
    family("estimators", "estimating", "training", "cost", "laws", "law_samples", "probes", "tuning")
)
TELLING = set(family("statistics", "tidy", "tables", "svg", "pieces", "figures", "findings", "report"))
TELLING |= set(
    family("cost_tables", "cost_figures", "cost_findings", "cost_charts", "cost_report", "terminal")
)
TELLING |= set(family("tuning_tables", "tuning_figures", "tuning_findings", "tuning_report"))
TELLING |= set(family("law_tables", "law_figures", "law_findings", "law_charts", "law_report"))
TELLING |= set(family("probe_tables", "probe_figures", "probe_findings", "probe_report"))
TELLING |= set(family("errors_figures", "errors_findings", "errors_report"))
TELLING |= set(
    family(
        "axes", "axes_findings", "axes_report", "judgements", "evidence", "forest", "claims", "claims_report"
    )
)
TELLING |= set(family("comparing", "compare_findings", "compare_report"))
TELLING |= set(family("page", "answer_figures", "answers", "curves_report", "summary_report"))
TELLING |= set(family("headings", "workflow_drawing"))
CHECKING = set(family("digests", "storage", "results", "provenance", "verification", "recovery", "tuned"))


@pytest.mark.parametrize(
    "module", family("datasets", "splits", "models", "tangents", "metrics", "optimizers", "seeding")
)
def test_what_estimators_are_given_knows_no_estimator(module: str) -> None:
    assert not (ESTIMATING | TELLING) & below(module)


def test_estimators_do_not_know_training() -> None:
    for module in family("estimators", "estimating"):
        assert not {"training", "cost", "datasets", "models"} & below(module)


@pytest.mark.parametrize("module", family("training", "cost", "laws", "law_samples", "probes", "tuning"))
def test_training_knows_neither_files_nor_config_nor_report(module: str) -> None:
    assert not ({"storage", "config", "cli"} | TELLING) & below(module)


@pytest.mark.parametrize("module", sorted(TELLING | CHECKING))
def test_what_checks_or_tells_of_results_never_makes_one(module: str) -> None:
    assert not (ESTIMATING | {"cli"}) & below(module)


@pytest.mark.parametrize(
    "order",
    [
        ["statistics", "cost_tables", "tables", "figures", "report"],
        ["tidy", "cost_tables", "cost_figures", "cost_charts", "cost_report", "report"],
        ["svg", "pieces", "cost_charts", "cost_report"],
        ["svg", "pieces", "page", "report"],
        ["headings", "pieces", "workflow_drawing", "report"],
        ["axes", "answer_figures", "answers", "report", "cli"],
        ["tables", "figures", "curves_report", "report"],
        ["findings", "summary_report", "terminal", "cli"],
        ["tidy", "tuning_tables", "tuning_figures", "tuning_report", "report"],
        ["tidy", "law_tables", "law_figures", "law_report", "report"],
        ["tidy", "probe_tables", "probe_figures", "probe_report", "report"],
        ["tables", "claims", "claims_report", "report"],
        ["claims", "comparing", "compare_findings", "compare_report", "cli"],
    ],
)
def test_tables_come_before_figures_and_figures_before_the_report(order: list[str]) -> None:
    for index, module in enumerate(order):
        if module in PATHS:
            assert not set(order[index + 1 :]) & below(module)


@pytest.mark.parametrize("module", TORCH_FREE)
def test_importing_it_imports_no_torch(module: str) -> None:
    assert not any(packages_at_import(inner) & TORCH for inner in reached_at_import(module))


@pytest.mark.parametrize("module", sorted(CHECKING))
def test_what_checks_results_does_not_know_how_they_are_shown(module: str) -> None:
    assert not TELLING & below(module)


@pytest.mark.parametrize(
    "module", sorted(TELLING | CHECKING - {"provenance"} | set(family("config", "sources", "numerics")))
)
def test_nothing_in_it_ever_imports_torch(module: str) -> None:
    imported = {
        alias.name for node in ast.walk(TREES[module]) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module or "" for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & TORCH


def test_a_process_that_imports_them_has_no_torch() -> None:
    script = f"import sys, {', '.join(f'fgbench.{module}' for module in TORCH_FREE)}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not TORCH & set(ran.stdout.split())
