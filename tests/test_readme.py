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
    """The code blocks below one heading of level two."""
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```\w+\n(.*?)```", section, flags=re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_an_estimator_a_model_and_a_data_set_of_a_file_outside_the_package_get_into_a_report(
    checkout: Checkout,
) -> None:
    plugin, named, method, model, dataset, experiment = blocks("Add your own")
    (checkout.folder / "mine.py").write_text(plugin, encoding="utf-8")
    study = tiny_study() | {"seeds": [0]} | yaml.safe_load(named)
    study["methods"] = {"backprop": {"estimator": "backprop", "learning_rate": 0.1}} | yaml.safe_load(method)
    study["cost"]["ladder"]["methods"] = ["backprop", "signed"]
    study["models"] |= yaml.safe_load(model)
    study["datasets"] |= yaml.safe_load(dataset)
    study["experiments"] = yaml.safe_load(experiment)
    printed = checkout.run(study)
    assert checkout.status == 0, printed
    assert set(checkout.records()) == {
        f"results/runs/wine/bottleneck/{method}/0.json" for method in ("backprop", "signed")
    }
    ladder, *_ = read_json(checkout.folder / "results/scaling.json")["ladders"]
    assert {"signed"} < {point["method"] for point in ladder["points"]}
    for experiment in read_json(checkout.folder / "results/cost.json")["experiments"]:
        assert {"signed"} < {timed["method"] for timed in experiment["times"]}
        assert {"signed"} < {measured["method"] for measured in experiment["memory"]}
    page = (checkout.folder / "results/report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("bottleneck", "signed", "Wines of three cultivars"))
    (checkout.folder / "mine.py").write_text(plugin + "\n# another thought\n", encoding="utf-8")
    assert checkout.due(study)["train"] == 2


def test_every_make_target_that_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_every_command_that_readme_shows_is_one_that_fgbench_takes() -> None:
    shown = re.findall(r"^\.venv/bin/fgbench (.+)$", README, flags=re.MULTILINE)
    assert [cli._parser().parse_args(shlex.split(command, comments=True)).command for command in shown]


def test_every_file_that_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert all((ROOT / link).exists() for link in links if not link.startswith("http"))
