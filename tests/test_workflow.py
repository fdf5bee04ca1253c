"""The workflow makes a report from nothing, reruns what depends on a change and nothing else, and resumes."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout, tiny_study
from test_same_bits import whole

from fgbench.numerics import PINS, can_be_pinned
from fgbench.storage import read_json

DEAD_PROXY = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    """A checkout in which the tiny study has been run, and what was printed then."""
    checkout = Checkout(tmp_path_factory.mktemp("study") / "checkout")
    printed = checkout.run(tiny_study())
    assert checkout.status == 0, printed
    return checkout, printed


@pytest.fixture(scope="module")
def done(first_run: tuple[Checkout, str]) -> Checkout:
    """The checkout alone."""
    return first_run[0]


def test_the_study_trains_the_six_at_every_seed_and_renders_a_report(done: Checkout) -> None:
    seeds = {}
    for record in done.records().values():
        cell = (record["dataset"], record["model"], record["method"])
        seeds.setdefault(cell, []).extend(run["seed"] for run in record["runs"])
    assert len(seeds) == 6
    assert all(sorted(found) == [0, 1, 2] for found in seeds.values())
    page = (done.folder / "results" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for cell in seeds for name in cell)


def test_with_nothing_to_do_nothing_is_done(done: Checkout) -> None:
    assert "Nothing to be done" in done.run(tiny_study())


def test_every_job_wrote_a_log(done: Checkout) -> None:
    logs = [
        path.relative_to(done.folder / "results/logs") for path in done.folder.glob("results/logs/**/*.log")
    ]
    jobs = {"data": 2, "split": 4, "train": 12, "operations": 1, "cost": 1, "scaling": 1}
    assert len(logs) == sum(jobs.values()) + len({"tables", "verify", "report"})
    assert "seed 0: not_reached after 20 steps" in (
        done.folder / "results/logs/runs/iris/mlp/backprop/0.log"
    ).read_text(encoding="utf-8")


def test_records_of_training_hold_no_time(done: Checkout) -> None:
    for path, record in done.records().items():
        assert not re.search(r"time|second|_s\"", json.dumps(record)), path


def test_runs_of_one_seed_share_their_test_examples(done: Checkout) -> None:
    tested: dict[tuple[str, int], set[str]] = {}
    for record in done.records().values():
        for run in record["runs"]:
            key = record["dataset"], run["seed"]
            tested.setdefault(key, set()).add(json.dumps(run["predictions"]["id"]))
    assert all(len(variants) == 1 for variants in tested.values())
    assert len({next(iter(ids)) for (name, _), ids in tested.items() if name == "iris"}) == 3


MEASURING = ("cost", "scaling")


def at_work(printed: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each job that was started with those that were at work just then, all by rule and number."""
    working: set[str] = set()
    begun = r"^(?:local)?rule (?P<rule>\w+):\n(?:    .*\n)*?    jobid: (?P<begun>\d+)$"
    ended = r"^Finished jobid: (?P<ended>\d+) \(Rule: (?P<of>\w+)\)$"
    for event in re.finditer(f"{begun}|{ended}", printed, flags=re.MULTILINE):
        if event["begun"]:
            yield f"{event['rule']} {event['begun']}", set(working)
            working.add(f"{event['rule']} {event['begun']}")
        else:
            working.remove(f"{event['of']} {event['ended']}")


def test_beside_a_job_that_measures_no_other_runs(first_run: tuple[Checkout, str]) -> None:
    started = list(at_work(first_run[1]))
    rules = [job.split()[0] for job, _ in started]
    assert [rules.count(rule) for rule in ("train", "operations", "cost", "scaling")] == [12, 1, 1, 1]
    for job, beside in started:
        assert not beside or job.split()[0] not in MEASURING, f"{job} beside {beside}"
        assert not [other for other in beside if other.split()[0] in MEASURING], f"{job} beside {beside}"
    assert any(len(beside) > 1 for job, beside in started if job.startswith("train"))


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("rule", MEASURING)
def test_a_job_that_measures_takes_all_cores_and_the_machine(done: Checkout, rule: str, cores: int) -> None:
    printed = done.run(tiny_study(), "--dry-run", "--forcerun", rule, cores=cores)
    assert done.status == 0, printed
    job = re.search(rf"^rule {rule}:\n((?:    .*\n)*)", printed, flags=re.MULTILINE)
    assert job
    assert re.search(r"^    resources: .*machine=1\b", job[1], flags=re.MULTILINE)
    assert cores == 1 or f"    threads: {cores}\n" in job[1]


def test_what_was_measured_is_native_and_what_was_counted_is_pinned(done: Checkout) -> None:
    results = done.folder / "results"
    pins = {
        rule: json.loads((results / f"{rule}.json").read_text("utf-8"))["provenance"]["pins"]
        for rule in ("operations", *MEASURING)
    }
    assert pins == {"operations": PINS if can_be_pinned() else {}, "cost": {}, "scaling": {}}


TOLD = {"tables": 1, "report": 1, "all": 1}
VERIFIED = {"verify": 1, **TOLD}
COUNTED = {"operations": 1, "cost": 1, **VERIFIED}
TRAINED = {"train": 12, **VERIFIED}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    study = copy.deepcopy(tiny_study())
    change(study)
    return study


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda study: None, {}, id="nothing"),
        pytest.param(
            lambda study: study["methods"]["backprop"]["learning_rate"].update({"iris/mlp": 0.5}),
            {"train": 2, **VERIFIED},
            id="one cell's rate: nothing is counted or measured again",
        ),
        pytest.param(
            lambda study: study["experiments"][0].update(batch_size=25),
            {"train": 4, **COUNTED},
            id="an experiment's batch size",
        ),
        pytest.param(
            lambda study: study["experiments"][0].update(optimizer={"name": "sgd", "momentum": 0.5}),
            {"train": 4, **COUNTED},
            id="an experiment's optimizer",
        ),
        pytest.param(
            lambda study: study["experiments"][0].update(max_steps=19),
            {"train": 4, **VERIFIED},
            id="an experiment's steps: none of them costs otherwise",
        ),
        pytest.param(
            lambda study: study["seeds"].append(3),
            {"split": 2, "train": 6, **VERIFIED},
            id="a seed: its chunk alone",
        ),
        pytest.param(
            lambda study: study["methods"].update(
                more={
                    "estimator": "forward_gradient",
                    "tangents": "normal",
                    "num_tangents": 2,
                    "learning_rate": 0.1,
                }
            ),
            {"train": 6, **COUNTED},
            id="a method more",
        ),
        pytest.param(
            lambda study: study["methods"]["forward_gradient"].update(num_tangents=2),
            {"train": 6, "scaling": 1, **COUNTED},
            id="a method that is on the ladder too",
        ),
        pytest.param(
            lambda study: study["models"].update(mlp={"hidden_widths": [4]}),
            {"train": 4, **COUNTED},
            id="a model's width",
        ),
        pytest.param(
            lambda study: study["cost"]["methods"].update(more={"estimator": "checkpointed_backprop"}),
            COUNTED,
            id="a method that is only measured",
        ),
        pytest.param(
            lambda study: study["cost"].update(rounds=3),
            {"cost": 1, **TOLD},
            id="rounds: nothing is counted again",
        ),
        pytest.param(
            lambda study: study["cost"].update(block_s=0.0002),
            {"cost": 1, "scaling": 1, **TOLD},
            id="the length of a block",
        ),
        pytest.param(
            lambda study: study["cost"]["ladder"].update(depth=[1, 2, 3]),
            {"scaling": 1, **TOLD},
            id="a size on the ladder",
        ),
        pytest.param(
            lambda study: study["cost"]["ladder"].update(methods=["backprop"]),
            {"scaling": 1, **TOLD},
            id="a method less on the ladder",
        ),
        pytest.param(
            lambda study: study["datasets"].update(kmnist={"num_train": 1000, "num_test": 10}),
            TOLD,
            id="a data set nobody uses: only the provenance and the report, which show the config",
        ),
    ],
)
def test_a_changed_config_reruns_what_depends_on_it(done: Checkout, change, expected: dict[str, int]) -> None:
    assert done.due(changed(change)) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("report.py", {"report": 1, "all": 1}),
        ("tables.py", TOLD),
        ("verification.py", {"verify": 1, "report": 1, "all": 1}),
        ("cost/timing.py", {"cost": 1, "scaling": 1, **TOLD}),
        ("cost/steps.py", {"scaling": 1, **COUNTED}),
        ("training.py", TRAINED),
        ("datasets/files.py", {"data": 2, "split": 4, **COUNTED, **TRAINED}),
        ("terminal.py", {}),
    ],
)
def test_an_edited_module_reruns_what_runs_it(done: Checkout, module: str, expected: dict[str, int]) -> None:
    path = done.folder / "fgbench" / module
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text + "\n# edited\n", encoding="utf-8")
        assert done.due(tiny_study()) == expected
    finally:
        path.write_text(text, encoding="utf-8")


def test_touched_or_reverted_modules_rerun_nothing(done: Checkout) -> None:
    for path in (done.folder / "fgbench").rglob("*.py"):
        path.touch()
    assert done.due(tiny_study()) == {}


REMOVED = {
    "operations": {"operations": 1, **VERIFIED},
    "cost": {"cost": 1, **TOLD},
    "scaling": {"scaling": 1, **TOLD},
}


@pytest.mark.parametrize(("name", "expected"), REMOVED.items(), ids=REMOVED)
def test_what_was_counted_or_measured_is_made_again_where_it_was_removed(
    done: Checkout, tmp_path: Path, name: str, expected: dict[str, int]
) -> None:
    path = done.folder / f"results/{name}.json"
    kept = path.rename(tmp_path / path.name)
    try:
        assert done.due(tiny_study()) == expected
    finally:
        kept.rename(path)


def test_on_one_core_what_was_removed_of_a_study_is_made_again(done: Checkout, tmp_path: Path) -> None:
    checkout, study = done.copied(tmp_path / "checkout"), tiny_study()
    results = checkout.folder / "results"
    counted = read_json(results / "operations.json")["cells"]
    for name in ("operations.json", *(f"{rule}.json" for rule in MEASURING), "report.html"):
        (results / name).unlink()
    printed = checkout.run(study, cores=1)
    assert checkout.status == 0, printed
    assert not {"train", "split", "data"} & set(re.findall(r"^rule (\w+):$", printed, flags=re.MULTILINE))
    assert read_json(results / "operations.json")["cells"] == counted
    assert (results / "report.html").exists()


def test_an_interrupted_measurement_leaves_nothing_and_is_made_anew(done: Checkout, tmp_path: Path) -> None:
    checkout, study = done.copied(tmp_path / "checkout"), tiny_study()
    study["cost"]["rounds"] = 10**6
    results, deadline = checkout.folder / "results", time.monotonic() + 120
    log = results / "logs/cost.log"
    log.unlink()
    process = checkout.start(study)
    while time.monotonic() < deadline and not (log.exists() and " rounds" in log.read_text("utf-8")):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    try:
        printed, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0, printed
    assert "Traceback" not in printed
    assert not (results / "cost.json").exists()
    study["cost"]["rounds"] = 2
    printed = checkout.run(study)
    assert checkout.status == 0, printed
    experiment, *_ = read_json(results / "cost.json")["experiments"]
    assert {len(timed["step_time_s"]) for timed in experiment["times"]} == {2}


def test_data_that_was_had_is_not_fetched_again_for_another_mirror(done: Checkout) -> None:
    assert done.due(tiny_study(), FGBENCH_MIRROR="http://127.0.0.1:9/") == {}


def test_an_edited_template_rerenders_the_report(done: Checkout) -> None:
    path = next((done.folder / "report").rglob("*.css"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    assert done.due(tiny_study()) == {"report": 1, "all": 1}
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("study", "told"),
    [
        pytest.param(
            changed(lambda study: study.update(sedes=[1])), "'sedes' (did you mean 'seeds'?)", id="key"
        ),
        pytest.param(changed(lambda study: study.update(seeds=[])), "seeds: ", id="no seeds"),
        pytest.param(
            changed(lambda study: study["experiments"][0].update(model="mpl")),
            "'mpl' (did you mean 'mlp'?)",
            id="model",
        ),
        pytest.param("- a\n- list\n", "keys at top level", id="a list"),
        pytest.param("a: [\n", "not valid JSON or YAML", id="no YAML"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_bad_config_is_told_before_any_job_and_without_a_traceback(
    done: Checkout, study: Any, told: str
) -> None:
    printed = done.run(study)
    assert done.status == 1
    assert told in printed
    assert "Traceback" not in printed
    assert "Job stats" not in printed


def test_a_mirror_that_is_a_file_is_refused(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = changed(lambda study: study["experiments"][0].update(dataset="penguins"))
    for method in study["methods"].values():
        method["learning_rate"] = 0.1
    printed = checkout.run(study, "results/data/penguins.json", FGBENCH_MIRROR="Snakefile")
    assert checkout.status == 1
    assert "Snakefile" in printed
    assert "Traceback" not in printed


def test_without_network_and_mirror_declared_stand_ins_are_used_and_the_report_says_so(
    tmp_path: Path,
) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = changed(lambda study: study["experiments"][0].update(dataset="penguins"))
    study = study | {"seeds": [0], "experiments": study["experiments"][:1]}
    for method in study["methods"].values():
        method["learning_rate"] = 0.1
    printed = checkout.run(study, **DEAD_PROXY)
    assert checkout.status == 0, printed
    assert "penguins: using iris instead" in printed
    page = (checkout.folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "stand-in" in page.lower()
    assert all(record["data"] == "iris" for record in checkout.records().values())
    assert checkout.due(study) == {}
    assert checkout.due(study, FGBENCH_MIRROR="http://127.0.0.1:9/")["data"] == 1
    refused = changed(lambda _: None) | study | {"data": study["data"] | {"stand_ins": False}}
    printed = checkout.run(refused, **DEAD_PROXY)
    assert checkout.status == 1
    assert "penguins_processed.csv" in printed
    assert "Traceback" not in printed


def test_an_interrupted_study_leaves_nothing_half_written_and_goes_on(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    study = tiny_study() | {"seeds": [0, 1]}
    study["experiments"] = study["experiments"][2:]
    study["experiments"][0] |= {"max_steps": 20_000, "record_every": 100}
    study["methods"]["backprop"]["learning_rate"] = study["methods"]["forward_gradient"]["learning_rate"] = (
        1e-6
    )
    process = checkout.start(study, "--until", "train")
    deadline = time.monotonic() + 60
    while (
        not list(checkout.folder.glob("results/logs/*/digits/cnn/**/*.log")) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0, printed
    assert "Traceback" not in printed
    results = checkout.folder / "results"
    assert not list(results.glob("runs/**/*.json"))
    list(whole(results))
    assert not [
        path for path in results.rglob(".*") if path.name not in {".snakemake_timestamp", ".study.json"}
    ]
    study["experiments"][0] |= {"max_steps": 20, "record_every": 10}
    printed = checkout.run(study, "--until", "train")
    assert checkout.status == 0, printed
    assert "rule data" not in printed
    assert len(checkout.records()) == 2
