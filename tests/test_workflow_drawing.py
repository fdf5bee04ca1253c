"""The drawing of the workflow is Snakemake's own graph, with the numbers that this study's results have."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import records
import yaml
from browsing import Report

from fgbench.types import Json
from fgbench.workflow_drawing import STEPS, Box, Workflow, told, workflow

ROOT = Path(__file__).parents[1]
RESULTS = {
    "tables": records.made("tables", seeds=None),
    "runs/iris/mlp/backprop/0.json": records.made(
        "train", "--splits", "splits/0.npz", "splits/1.npz", "--metadata", "iris.json", seeds=[0, 1]
    ),
    "operations.json": records.made("operations", seeds=None),
}
"""Of a study that trained two runs of one cell, and counted operations."""


def drawn(**changes: Json) -> Workflow:
    lines = [
        {"path": path, "command": made["command"], "seeds": made["seeds"]}
        for path, made in (RESULTS | changes).items()
    ]
    return workflow({"results": lines, "data": [{}]}, num_tables=5)


def boxes(found: Workflow) -> dict[str, Box]:
    return {box.rule: box for box in found.boxes}


def rulegraph(study: Json, folder: Path) -> dict[str, set[str]]:
    """Return by rule the rules whose results it takes, as Snakemake has it; what it is asked for is no rule."""
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("snakemake")), "--rulegraph", "--cores", "1"]
    command += [
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
        "--configfile",
        "study.yaml",
    ]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)"', ran.stdout))
    inputs: dict[str, set[str]] = {rule: set() for rule in rules.values()}
    for source, rule in re.findall(r"(\d+) -> (\d+)", ran.stdout):
        inputs[rules[rule]].add(rules[source])
    return {rule: sources for rule, sources in inputs.items() if rule != "all"}


def test_the_steps_and_what_each_takes_are_those_of_the_workflow(tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    full = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    study |= {name: full[name] for name in ("laws", "probes", "trials")} | {"tuning": True, "references": []}
    for method in study["methods"].values():
        method["learning_rate"] = "tuned"
    assert rulegraph(study, tmp_path) == {step.rule: set(step.inputs) for step in STEPS}


def test_each_step_comes_after_those_whose_results_it_takes() -> None:
    order = [step.rule for step in STEPS]
    assert all(order.index(source) < order.index(step.rule) for step in STEPS for source in step.inputs)


def test_a_step_that_the_study_did_not_do_is_left_out() -> None:
    assert [*boxes(drawn())] == ["data", "split", "train", "operations", "tables", "verify", "report"]
    assert "scaling" in boxes(drawn(**{"scaling.json": records.made("scaling", seeds=None)}))


def test_a_step_says_what_it_made_and_took() -> None:
    found = boxes(drawn(**{"runs/iris/mlp/forward_gradient/0.json": records.made("train", seeds=[0, 1, 2])}))
    assert found["train"].made == "2 results, 5 runs"
    assert found["train"].sources == "data and splits"
    assert found["split"].made == "2 files"
    assert found["tables"].made == "1 result, 5 tables"
    assert (found["data"].made, found["data"].sources) == ("1 data set", "")


def test_the_caption_says_what_the_page_rests_on() -> None:
    found = drawn(**{"runs/iris/mlp/backprop/1.json": records.made("train", seeds=[2])})
    assert found.caption.startswith("3 runs of 1 cell and 1 other result feed 5 tables, and these this page.")


def test_lines_lead_to_every_step_that_takes_something_and_none_beyond_the_frame() -> None:
    found = drawn()
    for box in found.boxes:
        assert bool(box.arrow) == bool(box.sources)
        across = [float(place) for place in re.findall(r"[MH]([\d.]+)", box.lines)]
        assert all(0 < place <= found.width for place in across)
    assert not found.boxes[-1].lines.endswith("V102")


def test_a_way_that_a_longer_one_tells_of_is_not_drawn() -> None:
    inputs = {step.rule: step.inputs for step in STEPS}
    assert told(inputs)["train"] == ["tune"]
    assert told(inputs)["report"] == ["tables", "verify"]
    assert set(told(inputs)["verify"]) == {"train", "operations"}


def test_no_line_begins_on_another() -> None:
    results = {f"{step.rule}.json": records.made(step.rule, seeds=None) for step in STEPS[2:-3]}
    for box in drawn(**results).boxes:
        begun = re.findall(r"Q(\d+) \d+ \1 \d+V", box.lines)
        assert len(begun) <= 1
        assert not {*begun} & {*re.findall(r"M(\d+) 0V102", box.lines)}


class Listed(HTMLParser):
    """The texts of the items of the page's drawing of the workflow."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[str] = []
        self.is_within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.is_within |= (tag, dict(attrs).get("class")) == ("ol", "workflow")
        if self.is_within and tag == "li":
            self.items.append("")

    def handle_endtag(self, tag: str) -> None:
        self.is_within &= tag != "ol"

    def handle_data(self, data: str) -> None:
        if self.is_within and self.items:
            self.items[-1] += data


def test_on_the_page_it_reads_as_a_list(smoke: Report) -> None:
    page = Listed()
    page.feed(smoke.path.read_text(encoding="utf-8"))
    items = [" ".join(item.split()) for item in page.items]
    assert items[0] == "Data data 2 data sets"
    assert "Runs train 6 results, 18 runs from: data and splits" in items
    assert items[-1] == "This page report 1 page from: data, tables and comparison with references"


def test_the_same_stands_in_a_table() -> None:
    found = drawn()
    assert [row[0] for row in found.table.rows] == [box.rule for box in found.boxes]
    assert found.table.rows[0][1:] == ["Data", "1 data set", "–"]
