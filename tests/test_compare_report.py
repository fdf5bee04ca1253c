"""The page of two studies says what the numbers say, first what matters, escaped; bad input is one clear message."""

from __future__ import annotations

import copy
import math
import re
import shlex
import shutil
from functools import cache
from html import unescape
from pathlib import Path

import pytest
import records
from finished import BOTH, again, altered, base_runs, finished, shifted, written
from records import Record
from studies import fgbench

from fgbench.compare_findings import headline, overview
from fgbench.compare_report import MOST_FACTS, comparison_page
from fgbench.comparing import Comparison, Study, compared
from fgbench.forest import ROWS_DRAWN
from fgbench.storage import read_json, write_json

RENDERED = "2026-05-06 07:08 UTC"
HOSTILE = '<script>alert("1")</script>お'


@cache
def one() -> Study:
    return finished(base_runs())


def beside(runs: list[Record], **changes: object) -> Comparison:
    return compared(one(), finished(runs, name="other", **changes))  # type: ignore[arg-type]


def worse(runs: list[Record], method: str = "forward_gradient") -> list[Record]:
    """Return runs trained another time, whose test losses are greater in one cell."""
    return altered(runs, method, shifted("test_loss", lambda seed: 0.1 + seed / 100))


@cache
def changed_page() -> str:
    return comparison_page(beside(worse(base_runs())), rendered=RENDERED)


def text_of(markup: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", markup))).replace("\xa0", " ")


def section(page: str, name: str) -> str:
    """Return the markup of the page's section of that id."""
    found = page[page.index(f'<section id="{name}"') :]
    return found[: found.index("</section>")]


def said(found: Comparison) -> str:
    return " ".join(overview(found))


# What the first screen says


def test_the_headline_is_the_worst_that_holds_of_any_cell() -> None:
    rounded = altered(base_runs(), "backprop", shifted("test_loss", lambda seed: 1e-7))
    scattered = altered(base_runs(), "backprop", shifted("test_loss", lambda seed: 0.1 * (-1) ** seed))
    expected = {
        "identical": (again(base_runs()), "All runs of 2 cells are the same to the last bit."),
        "within-tolerance": (rounded, "All runs of 2 cells agree: to the last bit or within tolerance."),
        "unresolved": (scattered, "Runs differ in 1 of 2 cells, and no difference of results is resolved."),
        "differs": (worse(scattered), "Results changed in 1 of 2 cells."),
    }
    found = {state: headline(beside(runs)) for state, (runs, _) in expected.items()}
    assert {state: one.words for state, one in found.items()} == {
        state: words for state, (_, words) in expected.items()
    }
    assert [one.state for one in found.values()] == [*expected]
    assert len({one.sign for one in found.values()}) == len(expected)


def test_studies_of_which_nothing_can_be_compared_say_so_with_the_reason() -> None:
    others = again(base_runs())
    for record in others:
        record["samples_sha256"] = "ef" * 32
    found = beside(others)
    assert headline(found).state == "not-comparable"
    assert headline(found).words == "Nothing can be compared: other samples of penguins."
    apart = compared(one(), finished(base_runs(models=BOTH[:1])))
    assert headline(apart).words == "Nothing can be compared: the studies share no cell."
    assert "In A alone: penguins/mlp/backprop, penguins/mlp/forward_gradient." in said(apart)
    assert "share no cell" in text_of(comparison_page(apart, rendered=RENDERED))


def test_what_changed_is_told_with_its_numbers() -> None:
    text = said(beside(worse(base_runs())))
    assert "Of 12 runs that both studies hold, 6 are the same to the last bit and 6 are different." in text
    assert "Of 2 cells that both studies have, 1 is identical and 1 is changed." in text
    assert re.search(
        r"Changed in B: forward_gradient \(mlp on penguins\): test loss \+0\.1\d+ \[0\.\d+, 0\.\d+\], worse\.",
        text,
    )
    assert "1 difference was tested, each for itself at 5 %, and 1 resolved" in text


def test_few_seeds_are_told_to_resolve_nothing() -> None:
    found = compared(finished(base_runs(3)), finished(worse(base_runs(3))))
    assert "With 3 pairs of runs no difference can be resolved: the sign-flip test needs 6 or more." in said(
        found
    )
    assert "were tested" not in said(found)


def test_copies_of_the_same_runs_are_said_to_prove_nothing() -> None:
    text = said(compared(one(), one()))
    assert "4 run records of 4 in B are copies of A's: that they agree proves nothing." in text
    assert "copies" not in said(beside(again(base_runs())))


def test_other_settings_are_named_and_many_of_them_in_short() -> None:
    runs = again(base_runs(models=BOTH))
    for record in runs:
        record["settings"] |= {"batch_size": 25}
    found = compared(finished(base_runs(models=BOTH)), finished(runs))
    assert "Trained with other settings, batch_size 50 in A, 25 in B: backprop (logistic_regression" in said(
        found
    )
    for place, record in enumerate(runs):
        record["settings"] |= {"batch_size": 25 + place // 2}
    found = compared(finished(base_runs(models=BOTH)), finished(runs))
    assert "Trained with other settings: 4 cells (batch_size); the tables say which." in said(found)


def test_seeds_of_one_study_alone_are_counted() -> None:
    found = compared(one(), finished(again(base_runs(4))))
    assert (
        "In 2 cells only seeds that both studies have are compared; 4 runs of one study alone are left out."
        in said(found)
    )


# The page


def test_the_same_studies_make_the_same_bytes_but_for_the_dates() -> None:
    page = comparison_page(beside(worse(base_runs())), rendered=RENDERED)
    assert page == changed_page()
    later = comparison_page(beside(worse(base_runs())), rendered="2027-01-01 00:00 UTC")
    cut = re.compile(r'<aside id="dates" data-volatile.*?</aside>', re.DOTALL)
    assert cut.sub("", later) == cut.sub("", page) != page
    assert not re.search(r"\d{4}-\d{2}-\d{2}", cut.sub("", page))


def test_every_link_leads_somewhere_and_no_id_stands_twice() -> None:
    page = changed_page()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert not re.findall(r'(?:src|href)="(?!#|data:|tables/)', page)


def test_the_sections_are_all_there_and_the_first_screen_comes_first() -> None:
    page = changed_page()
    order = [
        page.index(f'<section id="{key}"')
        for key in ("answer", "made", "results", "cost", "claims", "verified")
    ]
    assert order == sorted(order)
    answer = text_of(section(page, "answer"))
    assert "A is one, B is other." in answer
    assert "Results changed in 1 of 2 cells." in answer


def test_only_what_differs_in_the_making_is_listed_and_the_rest_counted() -> None:
    found = beside(again(base_runs(), cpu="Another processor"))
    text = text_of(section(comparison_page(found, rendered=RENDERED), "made"))
    assert "A processor; Another processor" in text
    assert "The same in both: code" in text
    assert "operating system" not in text
    alike = text_of(section(comparison_page(beside(again(base_runs())), rendered=RENDERED), "made"))
    assert "differ." not in alike


def test_many_facts_that_differ_are_folded_away() -> None:
    few, many = (
        records.CONFIG | {f"key{place}": place for place in range(number)} for number in (1, MOST_FACTS + 1)
    )
    for config, is_folded in ((few, False), (many, True)):
        page = comparison_page(beside(again(base_runs()), config=config), rendered=RENDERED)
        assert ("<details><summary>Config: " in section(page, "made")) == is_folded


def test_a_table_gives_both_numbers_the_difference_and_the_verdict() -> None:
    text = text_of(section(changed_page(), "results"))
    losses = r"forward_gradient Test loss worse in B \+0\.1\d+ \[[^]]+\] 0\.\d+ 0\.\d+ 6/6 0\.031"
    assert re.search(losses, text)
    assert "Test accuracy identical – " in text
    assert "Of 1 difference, 1 worse in B." in text


def test_what_is_identical_has_no_table_and_no_figure() -> None:
    page = comparison_page(beside(again(base_runs())), rendered=RENDERED)
    results = section(page, "results")
    assert results.count("<table") == 1
    assert "<svg" not in results
    assert "were tested" not in page


def test_what_cannot_be_compared_stands_with_both_studies_own_numbers() -> None:
    others = again(base_runs())
    for record in others:
        record["split"] = record["split"] | {"num_train": 50}
    text = text_of(section(comparison_page(beside(others), rendered=RENDERED), "results"))
    assert "other splits: num_train 40 in A, 50 in B" in text
    assert len(re.findall(r"other splits: \S+ 40 in A, 50 in B(?: 0\.\d+ \[[^]]+\]){4}", text)) == 2


def test_of_more_differences_than_can_be_drawn_the_resolved_ones_are() -> None:
    methods = ("backprop", *(f"method_{place:02}" for place in range(ROWS_DRAWN + 2)))
    runs = base_runs(methods=methods)
    others = again(runs)
    for record in others:
        place = methods.index(record["method"])
        sign = 1 if place == len(methods) - 1 else 0
        by = shifted("test_loss", lambda seed, sign=sign: 0.1 + seed / 100 if sign else 0.1 * (-1) ** seed)
        record["runs"] = [by(run) for run in record["runs"]]
    page = comparison_page(compared(finished(runs), finished(others)), rendered=RENDERED)
    (drawn,) = re.findall(r"<desc[^>]*>([^<]*)</desc>", section(page, "results"))
    assert drawn.startswith(f"mlp on penguins, {methods[-1]}: +0.1")
    assert drawn.count("mlp on penguins") == ROWS_DRAWN
    assert f"Drawn are {ROWS_DRAWN} of {len(methods)} of the test loss" in text_of(page)


def test_times_stand_beside_each_other_and_ratios_are_compared() -> None:
    first = finished(base_runs(), rounds=8)
    second = finished(
        again(base_runs(), cpu="Another"), rounds=8, times={"forward_gradient": 8e-3}, load=records.NOISY
    )
    found = compared(first, second)
    text = text_of(section(comparison_page(found, rendered=RENDERED), "cost"))
    assert "forward_gradient eager changed: more in B" in text
    assert "checkpointed_backprop eager within noise" in text
    assert "Times of A and B are not compared with each other." in text
    assert "the machine was not left alone" in text
    assert re.search(
        r"\d+ of \d+ ratios within noise, \d changed: forward_gradient \(mlp on penguins, ", said(found)
    )


def test_each_device_has_a_table_of_its_own() -> None:
    study = finished(base_runs(), rounds=2, cuda=True)
    cost = section(comparison_page(compared(study, study), rendered=RENDERED), "cost")
    assert re.findall("<h3>(.*)</h3>", cost) == [
        "mlp on penguins, CPU",
        "mlp on penguins, CUDA",
        "Counted operations",
    ]


def test_a_study_without_measured_costs_says_so() -> None:
    text = text_of(section(changed_page(), "cost"))
    assert "there is no ratio to the baseline that both studies measured" in text
    assert text.count("No step was measured.") == 2
    assert "equal in all 6 steps." in text


def test_claims_with_another_verdict_are_told_first() -> None:
    first = finished(base_runs(), rounds=8)
    second = finished(again(base_runs()), rounds=8, times={"forward_gradient": 1e-4})
    found = compared(first, second)
    assert "twice as fast by a step: does not hold in A, holds in B" in said(found)
    claims = section(comparison_page(found, rendered=RENDERED), "claims")
    assert claims.index("Claims with another verdict.") < claims.index("All claims")


def test_stand_ins_open_the_page_with_a_banner() -> None:
    page = changed_page()
    assert "Stand-in data in A: kmnist_t10k was asked for, digits was used." in text_of(page)
    assert page.index('class="banner"') < page.index("<h1>")


def test_hostile_names_are_escaped_everywhere() -> None:
    runs = base_runs(methods=("backprop", HOSTILE))
    others = again(worse(runs, HOSTILE), cpu=HOSTILE, os=HOSTILE)
    for record in others:
        record["settings"] |= {"note": HOSTILE}
    named = [
        Study(**(vars(finished(of)) | {"name": name}))
        for of, name in ((runs, HOSTILE), (others, f"{HOSTILE}2"))
    ]
    page = comparison_page(compared(*named), rendered=RENDERED)
    assert HOSTILE not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;" in page
    assert f"A is {HOSTILE}, B is {HOSTILE}2." in text_of(section(page, "answer"))


def test_a_number_that_nothing_has_is_a_dash() -> None:
    runs = altered(base_runs(), "forward_gradient", records.missed)
    others = altered(runs, "forward_gradient", lambda run: records.diverged(run) if run["seed"] else run)
    text = text_of(
        section(comparison_page(compared(finished(runs), finished(others)), rendered=RENDERED), "results")
    )
    assert "Steps to target identical – – – 0/6 –" in text
    assert "Test loss not resolved: 5 pairs not complete" in text
    assert str(math.nan) not in text.split()


# The command


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two studies' folders of results: the second trained another time, worse in one cell."""
    folder = tmp_path_factory.mktemp("studies")
    return written(folder / "one", one()), written(folder / "an other", finished(worse(base_runs())))


def test_the_command_writes_a_page_and_says_what_it_says(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "page.html"
    first, second = folders
    assert fgbench(f"compare {first} {shlex.quote(str(second))} --output {output}") == 0
    printed = capsys.readouterr().err
    assert printed.startswith("Results changed in 1 of 2 cells.\n")
    assert f"The comparison: {output}" in printed
    page = output.read_text(encoding="utf-8")
    for sentence in printed.splitlines()[:-1]:
        assert sentence in text_of(page)
    assert f"fgbench compare {first} '{second}'" in unescape(page)


def test_the_page_lies_where_the_command_ran_if_no_place_is_named(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fgbench(f"compare {folders[0]} {shlex.quote(str(folders[1]))}") == 0
    assert (tmp_path / "comparison.html").is_file()


def test_a_copy_in_another_folder_is_told_to_be_one(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    assert fgbench(f"compare {folders[0]} {tmp_path}/copy --output {tmp_path}/page.html") == 0
    assert "copies of A's" in capsys.readouterr().err


def damage_table(folder: Path) -> None:
    with (folder / "tables/runs.csv").open("a", encoding="utf-8") as file:
        file.write("more\n")


def older_tables(folder: Path) -> None:
    described = read_json(folder / "tables/columns.json")
    described["columns"]["runs"].pop("seed")
    write_json(folder / "tables/columns.json", described)


def older_provenance(folder: Path) -> None:
    made = read_json(folder / "provenance.json")
    made["makers"][0].pop("pins")
    write_json(folder / "provenance.json", made)


def other_run(folder: Path) -> None:
    record = copy.deepcopy(read_json(folder / "runs/0.json"))
    record["runs"][0]["steps"] += 1
    write_json(folder / "runs/0.json", record)


def other_verdict(folder: Path) -> None:
    write_json(folder / "verification.json", read_json(folder / "verification.json") | {"study_sha256": "0"})


DAMAGED = {
    "no study": (shutil.rmtree, r"broken: holds no study \(no .*broken/config\.yaml\)"),
    "no tables": (
        lambda folder: shutil.rmtree(folder / "tables"),
        "not finished, it has no tables/columns.json",
    ),
    "no verdict": (
        lambda folder: (folder / "verification.json").unlink(),
        "not finished, .* verification.json",
    ),
    "a missing table": (
        lambda folder: (folder / "tables/runs.csv").unlink(),
        "runs.csv: was changed or removed",
    ),
    "an edited table": (damage_table, "runs.csv: was changed or removed"),
    "another version's tables": (older_tables, "another version of fgbench: runs has no column seed"),
    "another version's provenance": (older_provenance, "in its provenance, makers have no pins"),
    "a missing run": (lambda folder: (folder / "runs/0.json").unlink(), "0.json: no such file"),
    "another run": (other_run, "runs: holds other runs than its tables tell of"),
    "another study's verdict": (other_verdict, "verification.json: tells of other runs than the tables do"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_folder_that_cannot_be_compared_is_one_clear_message(
    name: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGED[name]
    broken = tmp_path / "broken"
    shutil.copytree(folders[0], broken)
    damage(broken)
    for pair in (f"{folders[0]} {broken}", f"{broken} {folders[0]}"):
        assert fgbench(f"compare {pair} --output {tmp_path}/page.html") == 1
        printed = capsys.readouterr().err
        assert re.search(message, printed)
        assert printed.startswith("fgbench compare: ")
        assert printed.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("again_as", ["{0}", "{0}/../one", "{0}/"])
def test_a_study_is_not_compared_with_itself(
    again_as: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fgbench(f"compare {folders[0]} {again_as.format(folders[0])}") == 1
    assert "are the same folder; two studies' folders are accepted." in capsys.readouterr().err
