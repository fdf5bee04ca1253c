"""What is read from source text is what Python finds in it; a hash changes with a command's code alone."""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
from pathlib import Path

import pytest

from fgbench import cli, sources
from fgbench.sources import REGISTRIES, code_hash, folder_hash, registered, signature

COMMANDS = [run.__name__ for run, _, _ in cli._COMMANDS]
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
    return {command: code_hash(command) for command in COMMANDS}


def changed(before: dict[str, str]) -> set[str]:
    return {command for command, value in hashes().items() if value != before[command]}


def test_every_command_has_a_hash_of_its_own(package: Path) -> None:
    assert len(set(hashes().values())) == len(COMMANDS)
    assert all(len(value) == 16 for value in hashes().values())


def test_a_copy_of_the_code_has_the_same_hashes(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_copy = hashes()
    monkeypatch.undo()
    assert hashes() == of_the_copy


def test_the_time_of_a_file_plays_no_part(package: Path) -> None:
    before = hashes()
    for path in package.rglob("*.py"):
        os.utime(path, (0, 0))
    assert not changed(before)


@pytest.mark.parametrize(
    "module", ["training.py", "estimators.py", "tangents.py", "models.py", "optimizers.py"]
)
def test_what_trains_changes_training_and_timing_alone(package: Path, module: str) -> None:
    before = hashes()
    with (package / module).open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert changed(before) == {"train", "time"}


def test_reverting_an_edit_restores_the_hashes(package: Path) -> None:
    before, path = hashes(), package / "training.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nANOTHER = 1\n", encoding="utf-8")
    assert changed(before)
    path.write_text(text, encoding="utf-8")
    assert not changed(before)


def test_a_module_imported_by_another_module_counts(package: Path) -> None:
    before = hashes()
    with (package / "seeding.py").open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert changed(before) == {"split", "train", "time"}


def test_a_data_sets_module_changes_data_and_split_but_no_run(package: Path) -> None:
    before = hashes()
    with (package / "datasets" / "penguins.py").open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert {"data"} <= changed(before)
    assert not {"train", "time", "tables"} & changed(before)


@pytest.mark.parametrize("module", ["figures.py", "report.py"])
def test_how_a_report_looks_reruns_nothing_before_it(package: Path, module: str) -> None:
    if not (package / module).exists():
        (package / module).touch()
    before = hashes()
    with (package / module).open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert changed(before) <= {"report"}


@pytest.mark.parametrize("module", ["verification.py", "findings.py"])
def test_how_a_study_is_compared_reruns_nothing_before_it(package: Path, module: str) -> None:
    before = hashes()
    with (package / module).open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert {"verify"} <= changed(before) <= {"check", "verify", "reference", "summary", "report"}


def test_what_pins_the_arithmetic_changes_training_and_timing(package: Path) -> None:
    before = hashes()
    edit(package / "numerics.py", '"Haswell"', '"Zen"')
    assert {"train", "time"} <= changed(before)


def test_how_a_killed_study_is_cleared_reruns_nothing(package: Path) -> None:
    before = hashes()
    with (package / "recovery.py").open("a", encoding="utf-8") as file:
        file.write("\nANOTHER = 1\n")
    assert changed(before) == {"prepare"}


def test_a_command_changes_with_its_own_function_in_cli(package: Path) -> None:
    before = hashes()
    edit(package / "cli.py", 'LOG.info("seed %d: %s after', 'LOG.info("run %d: %s after')
    assert changed(before) == {"train"}


def test_a_command_changes_with_a_helper_in_cli(package: Path) -> None:
    before = hashes()
    edit(package / "cli.py", "torch.set_num_threads(1)", "torch.set_num_threads(2)")
    assert changed(before) == {"train", "time"}


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
    with pytest.raises(TypeError, match=r"tangents\.TANGENTS: a registry is a dict literal"):
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
