"""What is read from source text is what Python finds in it; a hash changes with a command's code alone."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
from pathlib import Path

import pytest

from fgbench import cli, sources
from fgbench.errors import ConfigError
from fgbench.sources import REGISTRIES, code_hash, folder_hash, registered, signature

COMMANDS = [run.__name__ for run, _, _ in cli._COMMANDS]
SHOWING = (
    "figures",
    "report",
    "cost_figures",
    "cost_charts",
    "cost_report",
    "pieces",
    "svg",
)
ROOT = Path(__file__).parents[1]
OWN_LINES = (
    ("operations", '"operations of %d steps counted"', '"%d steps counted"'),
    ("cost", "{named} on {device}", "{named}, {device}"),
    ("scaling", '"%s: %s", device)', '"%s, %s", device)'),
)
"""For each command that counts or measures: a piece of its own code, and another."""
RULES = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
HASHED = dict(
    re.findall(
        r"^rule (\w+):\n(?:    .*\n|\n)*?        code=code_hash\(\"(\w+)\"\),$", RULES, flags=re.MULTILINE
    )
)
"""For each rule: the function of `cli` whose code it hangs on."""
OWN_FUNCTIONS = [family for family in REGISTRIES if family != "dataset"]


def imported(family: str) -> dict[str, object]:
    module, variable = REGISTRIES[family]
    return dict(getattr(importlib.import_module(f"fgbench.{module}"), variable))


@pytest.mark.parametrize("family", REGISTRIES)
def test_the_names_read_are_those_of_the_imported_registry(family: str) -> None:
    assert registered(family) == tuple(imported(family))


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in OWN_FUNCTIONS for name in registered(family)]
)
def test_the_signature_read_is_the_functions_own(family: str, name: str) -> None:
    parameters = inspect.signature(imported(family)[name]).parameters.values()  # type: ignore[arg-type]
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    read = signature(family, name)
    assert read.required == tuple(p.name for p in positional)
    assert read.options == tuple(p.name for p in options)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that `sources` reads in place of the real one."""
    copy = tmp_path / "fgbench"
    shutil.copytree(sources.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def hashes() -> dict[str, str]:
    """The hash that decides whether a command's rule runs again; of a command without a rule, that of its code."""
    return {command: code_hash(HASHED.get(command, command)) for command in COMMANDS}


def changed(before: dict[str, str]) -> set[str]:
    return {command for command, value in hashes().items() if value != before[command]}


def test_every_command_has_a_hash_of_its_own(package: Path) -> None:
    assert len(set(hashes().values())) == len(COMMANDS)
    assert all(len(value) == 16 for value in hashes().values())


def test_every_rule_hangs_on_the_code_of_its_command() -> None:
    assert HASHED.keys() == set(re.findall(r"^rule (\w+):", RULES, flags=re.MULTILINE)) <= {*COMMANDS}
    assert {rule: name for rule, name in HASHED.items() if name != rule} == {"cost": "_cost_record"}


def test_a_copy_of_the_code_has_the_same_hashes(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_copy = hashes()
    monkeypatch.undo()
    assert hashes() == of_the_copy


def test_the_time_of_a_file_plays_no_part(package: Path) -> None:
    before = hashes()
    for path in package.rglob("*.py"):
        os.utime(path, (0, 0))
    assert not changed(before)


def changed_with(package: Path, module: str) -> set[str]:
    """The commands whose code an edit of a module changes."""
    before = hashes()
    with (package / module).open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    return changed(before)


STEPPING = {"operations", "cost", "scaling"}
SHOWN = {"summary", "report", "compare"}
"""Commands that only show what others made: nothing is made from what they write."""

TRAINING = {"train", "tune", "laws", "probe"}


@pytest.mark.parametrize("module", ["estimators/forward.py", "tangents.py", "models.py", "optimizers.py"])
def test_what_makes_a_step_changes_training_and_what_a_step_costs(package: Path, module: str) -> None:
    assert changed_with(package, module) == {*TRAINING, *STEPPING}


@pytest.mark.parametrize("module", ["training.py", "metrics.py"])
def test_what_only_training_does_changes_only_what_trains(package: Path, module: str) -> None:
    assert changed_with(package, module) == TRAINING


@pytest.mark.parametrize(
    ("module", "command"),
    [("progress.py", "train"), ("tuning.py", "tune"), ("laws.py", "laws"), ("probes.py", "probe")],
)
def test_what_one_command_alone_does_changes_it_alone(package: Path, module: str, command: str) -> None:
    assert changed_with(package, module) == {command}


MEASURING = {
    "steps": STEPPING,
    "operations": {"operations"},
    "measuring": {"cost", "scaling"},
    "timing": {"cost", "scaling"},
    "compiling": {"cost", "scaling"},
    "memory": {"cost", "scaling"},
    "fresh": {"cost", "scaling"},
    "loaded": {"cost", "scaling"},
    "load": {"cost", "scaling"},
}


@pytest.mark.parametrize(("module", "commands"), MEASURING.items(), ids=MEASURING)
def test_what_measures_changes_what_is_measured_and_no_run(
    package: Path, module: str, commands: set[str]
) -> None:
    assert changed_with(package, f"cost/{module}.py") == commands


def test_every_module_that_measures_is_held_to_what_it_changes() -> None:
    modules = {path.stem for path in (sources.PACKAGE / "cost").glob("*.py")}
    assert modules - {"__init__"} == MEASURING.keys()


def test_reverting_an_edit_restores_the_hashes(package: Path) -> None:
    before, path = hashes(), package / "training.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nANOTHER = 1\n", encoding="utf-8")
    assert changed(before)
    path.write_text(text, encoding="utf-8")
    assert not changed(before)


def test_a_module_imported_by_another_module_counts(package: Path) -> None:
    assert changed_with(package, "seeding.py") == {"split", *TRAINING}


def test_a_data_sets_module_changes_data_and_split_but_no_run(package: Path) -> None:
    found = changed_with(package, "datasets/penguins.py")
    assert {"data"} <= found
    assert not {"train", *STEPPING, "tables"} & found


@pytest.mark.parametrize(
    "module",
    [
        "tables.py",
        "cost_tables.py",
        "tidy.py",
        "statistics.py",
        "claims.py",
        "evidence.py",
        "findings.py",
        "cost_findings.py",
    ],
)
def test_how_tables_are_made_reruns_nothing_before_them(package: Path, module: str) -> None:
    assert {"tables"} <= changed_with(package, module) <= {"tables", "verify", *SHOWN}


@pytest.mark.parametrize("module", SHOWING)
def test_how_a_report_looks_reruns_nothing_before_it(package: Path, module: str) -> None:
    assert {"report"} <= changed_with(package, f"{module}.py") <= SHOWN


def test_how_a_terminal_shows_a_study_reruns_nothing_but_the_summary(package: Path) -> None:
    assert changed_with(package, "terminal.py") == {"summary"}


@pytest.mark.parametrize("module", ["verification.py", "verification_findings.py"])
def test_how_a_study_is_compared_reruns_nothing_before_it(package: Path, module: str) -> None:
    found = changed_with(package, module)
    assert {"verify"} <= found <= {"check", "verify", "reference", *SHOWN}


def test_what_pins_the_arithmetic_changes_training_and_measuring(package: Path) -> None:
    before = hashes()
    edit(package / "numerics.py", '"Haswell"', '"Zen"')
    assert {"train", *STEPPING} <= changed(before)


def test_how_a_killed_study_is_cleared_reruns_nothing(package: Path) -> None:
    assert changed_with(package, "recovery.py") == {"prepare"}


def test_a_command_changes_with_its_own_function_in_cli(package: Path) -> None:
    before = hashes()
    edit(package / "cli.py", 'LOG.info("seed %d: %s after', 'LOG.info("run %d: %s after')
    assert changed(before) == {"train"}


def test_a_command_changes_with_a_helper_in_cli(package: Path) -> None:
    before = hashes()
    edit(package / "cli.py", "torch.set_num_threads(1)", "torch.set_num_threads(2)")
    assert changed(before) == {*TRAINING, *STEPPING}


@pytest.mark.parametrize(("command", "old", "new"), OWN_LINES, ids=[command for command, _, _ in OWN_LINES])
def test_a_command_that_counts_or_measures_changes_with_its_own_lines_alone(
    package: Path, command: str, old: str, new: str
) -> None:
    before = hashes()
    edit(package / "cli.py", old, new)
    assert changed(before) == {command}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LOG = logging", "# said again\nLOG = logging"),
        ('"the study\'s config"', '"the config"'),
        ('prog="fgbench"', 'prog="bench"'),
        ("def _parser()", "def unused() -> None: ...\n\n\ndef _parser()"),
    ],
    ids=["a comment", "a help text", "the parser", "a function that no command calls"],
)
def test_an_edit_of_cli_that_no_command_runs_changes_nothing(package: Path, old: str, new: str) -> None:
    before = hashes()
    edit(package / "cli.py", old, new)
    assert not changed(before)


def test_an_import_that_another_command_needs_changes_nothing(package: Path) -> None:
    before = hashes()
    edit(package / "cli.py", "from fgbench.config import (", "from fgbench.config import (SCHEMA, ")
    assert not changed(before)


def test_a_registry_that_is_no_literal_is_refused(package: Path) -> None:
    edit(package / "tangents.py", "] = {", "] = dict() or {")
    with pytest.raises(
        ConfigError, match="TANGENTS is no registry; write a dict literal of names and functions"
    ):
        registered("tangents")


def test_a_folders_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    first, second = tmp_path / "a.html", tmp_path / "deep" / "b.png"
    first.write_text("a", encoding="utf-8")
    second.write_bytes(b"\x89PNG\xff")
    before = folder_hash(tmp_path)
    os.utime(first, (0, 0))
    assert folder_hash(tmp_path) == before
    second.write_bytes(b"\x89PNG\xfe")
    assert folder_hash(tmp_path) != before
    second.write_bytes(b"\x89PNG\xff")
    assert folder_hash(tmp_path) == before
    second.rename(tmp_path / "b.png")
    assert folder_hash(tmp_path) != before
