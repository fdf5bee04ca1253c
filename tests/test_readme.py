"""README's own words work: each addition it shows is made as it says, and runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout, tiny_study

from fgbench import cli
from fgbench.storage import read_json

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The code blocks below one heading of level three."""
    section = README.partition(f"### {heading}\n")[2].partition("\n##")[0]
    return re.findall(r"```\w+\n(.*?)```", section, flags=re.DOTALL)


def register(path: Path, registry: str, line: str, before: str = "") -> None:
    """Put a line into the dict literal of a registry, and code before it."""
    text = path.read_text(encoding="utf-8")
    head, name, tail = text.partition(f"{registry}: ")
    assert name, f"{path} has no {registry}"
    opening, brace, entries = tail.partition("{\n")
    path.write_text(f"{head}{before}\n\n{name}{opening}{brace}{line}{entries}", encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_the_additions_that_readme_shows_train_and_are_measured_and_reported(checkout: Checkout) -> None:
    function, line, method = blocks("An estimator")
    register(checkout.folder / "fgbench/estimators.py", "ESTIMATORS", line, function)
    model_function, model_line, model, experiment = blocks("A model")
    register(checkout.folder / "fgbench/models.py", "MODELS", model_line, model_function)
    dataset_file, dataset_import, dataset_line, dataset = blocks("A data set")
    (checkout.folder / "fgbench/datasets/wine.py").write_text(dataset_file, encoding="utf-8")
    package = checkout.folder / "fgbench/datasets/__init__.py"
    register(package, "DATASETS", dataset_line, dataset_import)

    study = tiny_study() | {"seeds": [0]}
    study["methods"] = {"backprop": {"estimator": "backprop", "learning_rate": 0.1}} | yaml.safe_load(method)
    study["cost"]["ladder"]["methods"] = ["backprop", "signed"]
    study["models"] |= yaml.safe_load(model)
    study["datasets"] |= yaml.safe_load(dataset)
    study["experiments"] = yaml.safe_load(experiment)
    study["experiments"] += [study["experiments"][0] | {"dataset": "wine"}]
    printed = checkout.run(study)
    assert checkout.status == 0, printed
    assert set(checkout.records()) == {
        f"results/runs/{dataset}/bottleneck/{method}/0.json"
        for dataset in ("iris", "wine")
        for method in ("backprop", "signed")
    }
    ladder, *_ = read_json(checkout.folder / "results/scaling.json")["ladders"]
    assert {"signed"} < {point["method"] for point in ladder["points"]}
    for experiment in read_json(checkout.folder / "results/cost.json")["experiments"]:
        assert {"signed"} < {timed["method"] for timed in experiment["times"]}
    page = (checkout.folder / "results/report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("bottleneck", "signed", "Wines of three cultivars"))


def test_every_make_target_that_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_every_command_that_readme_shows_is_one_that_fgbench_takes() -> None:
    shown = re.findall(r"^\.venv/bin/fgbench (.+)$", README, flags=re.MULTILINE)
    assert [cli._parser().parse_args(shlex.split(command, comments=True)).command for command in shown]


def test_every_file_that_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert all((ROOT / link).exists() for link in links if not link.startswith("http"))
