"""A result is written whole or not at all, comes back to the last bit, and is refused by name where it was changed."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgbench.errors import ResultError
from fgbench.storage import read_arrays, read_json, rebuild, write_arrays, write_json, write_text, write_with

ARRAYS = {
    "0/inputs": np.arange(12, dtype=np.float32).reshape(3, 4),
    "0/labels": np.array([0, 1, 2], dtype=np.int64),
    "part": np.array(["train", "test"]),
    "images": np.zeros((2, 28, 28), dtype=np.uint8),
}
ABOUT = {"dataset": "iris", "provenance": {"seeds": [0, 1]}, "scale": 0.1}
WAY_OUT = r"Rebuild it: `rm {path}`, then the study's command again"

WRITERS: dict[str, Callable[[Path], None]] = {
    "write_text": lambda path: write_text(path, "new" * 10_000),
    "write_json": lambda path: write_json(path, {"new": "n" * 30_000}),
    "write_arrays": lambda path: write_arrays(path, {"new": np.zeros(10_000)}, {}),
    "write_with": lambda path: write_with(path, lambda temporary: temporary.write_bytes(b"new" * 10_000)),
}


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"seed": 0, "name": "∇f·v", "none": None, "nested": {"list": [1, 2.5, True]}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_floats_keep_every_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 2000, dtype=np.uint64).view(np.float64)
    floats = [value for value in values.tolist() if math.isfinite(value)] + [
        0.1,
        -0.0,
        5e-324,
        1.7976931348623157e308,
    ]
    write_json(tmp_path / "a.json", {"floats": floats})
    back = read_json(tmp_path / "a.json")["floats"]
    assert [value.hex() for value in back] == [value.hex() for value in floats]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": value})
    assert list(tmp_path.iterdir()) == []


def test_equal_mappings_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1, "y": {"b": 2, "a": 3}})
    write_json(tmp_path / "b.json", {"y": {"a": 3, "b": 2}, "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS, ABOUT)
    back = read_arrays(tmp_path / "a.npz")
    assert back.about == ABOUT
    assert list(back.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_the_same_arrays_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS, ABOUT)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    backwards = dict(reversed(ABOUT.items()))
    write_arrays(tmp_path / "b.npz", {name: array.copy() for name, array in ARRAYS.items()}, backwards)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_arrays_of_objects_are_refused_rather_than_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(tmp_path / "a.npz", {"x": np.array([None, {}], dtype=object)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_result_replaces_the_one_before(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "made" / "on the way" / "result.npz"
    write(path)
    first = path.read_bytes()
    path.write_bytes(b"old")
    write(path)
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_a_result_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    kept = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(kept)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_temporary_keeps_the_ending_that_says_its_format(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_with(tmp_path / "curves.parquet", seen.append)
    assert seen[0].suffix == ".parquet"
    assert seen[0].parent == tmp_path


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_where_a_file_is_in_the_way_nothing_is_written(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match=r"file/result\.npz: cannot be written \(.*name another folder"):
        write(tmp_path / "file" / "result.npz")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_where_a_folder_is_in_the_way_nothing_is_left(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "result.npz").mkdir()
    with pytest.raises(ResultError, match="cannot be written"):
        write(tmp_path / "result.npz")
    assert list(tmp_path.iterdir()) == [tmp_path / "result.npz"]


def test_an_error_of_the_writer_leaves_the_old_result_and_no_temporary(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError("a bug")

    path = tmp_path / "result.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError, match="a bug"):
        write_with(path, write)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import resource, signal, sys
from pathlib import Path
from test_storage import WRITERS
from fgbench.errors import ResultError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for name, write in WRITERS.items():
    try:
        write(Path(sys.argv[1], f"{name}.npz"))
    except ResultError as error:
        print(error)
"""


def test_a_full_disk_is_told_and_leaves_only_what_was_there(tmp_path: Path) -> None:
    for name in WRITERS:
        (tmp_path / f"{name}.npz").write_bytes(b"old")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    told = ran.stdout.splitlines()
    assert len(told) == len(WRITERS)
    assert all("cannot be written (File too large). Nothing was left half-written;" in line for line in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.npz" for name in WRITERS)
    assert all(path.read_bytes() == b"old" for path in tmp_path.iterdir())


KILLED = """
import signal, sys, time
from pathlib import Path
from fgbench.cli import _interrupt
from fgbench.storage import write_with

def write(temporary):
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)

signal.signal(signal.SIGTERM, _interrupt)
signal.signal(signal.SIGINT, signal.default_int_handler)
write_with(Path(sys.argv[1]), write)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_killed_writer_leaves_neither_half_a_file_nor_a_temporary(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "result.txt")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(timeout=20) != 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_told_with_a_way_out(tmp_path: Path) -> None:
    message = r"nothing: no such file\. Run the stage that writes it first"
    with pytest.raises(ResultError, match=message):
        read_json(tmp_path / "nothing")
    with pytest.raises(ResultError, match=message):
        read_arrays(tmp_path / "nothing")


BROKEN_JSON = {
    "nothing": b"",
    "half a mapping": b'{"runs": [{"seed": 0',
    "bytes that are no text": b"\xff\xfe\x00",
    "brackets without end": b"[" * 50_000,
}


@pytest.mark.parametrize("content", BROKEN_JSON.values(), ids=BROKEN_JSON)
def test_broken_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=rf"record\.json: cannot be read \(.*{WAY_OUT.format(path=path)}"):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "found"), [("[1, 2]", "a list"), ('"text"', "a str"), ("null", "a NoneType")]
)
def test_json_that_is_no_mapping_is_refused_by_name(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    complaint = rf"record\.json: a mapping was expected, {found} found\. {WAY_OUT.format(path=path)}"
    with pytest.raises(ResultError, match=complaint):
        read_json(path)


def broken_arrays() -> dict[str, Callable[[bytes], bytes]]:
    return {
        "nothing": lambda _: b"",
        "its first byte": lambda whole: whole[:1],
        "its first hundred bytes": lambda whole: whole[:100],
        "half of it": lambda whole: whole[: len(whole) // 2],
        "all but its last byte": lambda whole: whole[:-1],
        "a changed byte": lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "a text": lambda _: b"<html>not found</html>",
    }


@pytest.mark.parametrize("change", broken_arrays().values(), ids=broken_arrays())
def test_broken_arrays_are_refused_by_name(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "split.npz"
    write_arrays(path, ARRAYS, ABOUT)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ResultError, match=rf"split\.npz: cannot be read \(.*{WAY_OUT.format(path=path)}"):
        read_arrays(path)


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    with path.open("wb") as file:
        np.savez(file, x=np.array([None, {}], dtype=object))
    with pytest.raises(ResultError, match=r"split\.npz: cannot be read \(Object arrays"):
        read_arrays(path)


@pytest.mark.parametrize("read", [read_json, read_arrays])
def test_a_folder_is_no_result(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        read(tmp_path)


def test_json_that_was_changed_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"loss": 0.25, "steps": 100})
    recorded = json.loads(path.read_text(encoding="utf-8"))["sha256"]
    path.write_text(path.read_text(encoding="utf-8").replace("0.25", "0.24"), encoding="utf-8")
    with pytest.raises(
        ResultError, match=rf"was changed after it was written.*{WAY_OUT.format(path=path)}"
    ) as told:
        read_json(path)
    assert f"recorded SHA-256 {recorded}, found " in str(told.value)
    assert recorded not in str(told.value).partition("found ")[2]


JSON_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "the last bit of a float": lambda value: value.update(loss=math.nextafter(value["loss"], 1)),
    "a whole number in place of a float": lambda value: value.update(rate=1),
    "the sign of zero": lambda value: value.update(zero=0.0),
    "a key more": lambda value: value.update(more=None),
    "a key less": lambda value: value.pop("loss"),
    "two entries in another order": lambda value: value["runs"].reverse(),
    "a character of the hash": lambda value: value.update(sha256="0" + value["sha256"][1:]),
    "a hash that is none": lambda value: value.update(sha256=None),
}


@pytest.mark.parametrize("change", JSON_CHANGES.values(), ids=JSON_CHANGES)
def test_no_change_of_json_is_too_small(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"loss": 0.1, "rate": 1.0, "zero": -0.0, "runs": [{"seed": 0}, {"seed": 1}]})
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(ResultError, match=r"record\.json: was changed after it was written"):
        read_json(path)


def test_how_json_is_laid_out_plays_no_part(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    value = {"b": [1, [2.5, None]], "a": {"∇": "θ"}}
    write_json(path, value)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert read_json(path) == value


def test_json_without_its_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"seed": 0}', encoding="utf-8")
    with pytest.raises(ResultError, match=r"is no file of the kind expected, it has no runs, sha256\."):
        read_json(path, keys=("seed", "runs"))


def test_a_reader_can_say_another_way_out(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"seed": 0, "sha256": "0"}', encoding="utf-8")
    with pytest.raises(ResultError, match=r"was changed after it was written.*\. Ask for it again\.$"):
        read_json(path, way_out="Ask for it again.")


def test_json_is_laid_out_for_a_diff(tmp_path: Path) -> None:
    """Keys in order, a line for each, and for each list of plain values, so that one number changed is one line."""
    write_json(
        tmp_path / "a.json", {"b": [1, 0.5, None], "a": {"runs": [{"seed": 0, "curve": [[1, 2], [3]]}]}}
    )
    lines = (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "sha256" not in line] == [
        "{",
        ' "a": {',
        '  "runs": [',
        "   {",
        '    "curve": [',
        "     [1, 2],",
        "     [3]",
        "    ],",
        '    "seed": 0',
        "   }",
        "  ]",
        " },",
        ' "b": [1, 0.5, null],',
        "}",
    ]
    assert len(lines) == 15


def test_the_hash_of_arrays_is_over_what_is_said_about_them_too(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    write_arrays(path, ARRAYS, ABOUT)
    with np.load(path) as stored:
        members = {name: stored[name] for name in stored.files}
    said = json.loads(str(members["about"]))
    np.savez(path, **{**members, "about": np.array(json.dumps(said | {"dataset": "digits"}))})
    with pytest.raises(ResultError, match=rf"was changed after it was written.*{WAY_OUT.format(path=path)}"):
        read_arrays(path)
    np.savez(path, **{**members, "part": np.array(["train", "train"])})
    with pytest.raises(ResultError, match=r"split\.npz: was changed after it was written"):
        read_arrays(path)
    np.savez(path, **members)
    assert read_arrays(path).about == ABOUT


@pytest.mark.parametrize("about", [None, "[]", "3", '"sha256"', "{}", "{"])
def test_arrays_of_another_origin_are_refused(tmp_path: Path, about: str | None) -> None:
    path = tmp_path / "split.npz"
    np.savez(path, **ARRAYS, **({} if about is None else {"about": np.array(about)}))
    with pytest.raises(ResultError, match=rf"split\.npz: .*{WAY_OUT.format(path=path)}"):
        read_arrays(path)


def test_no_byte_of_a_result_can_be_changed_unnoticed(tmp_path: Path) -> None:
    """Whatever byte is turned over, a reader gives what was written, or an error that names the file."""
    arrays = {"0/ids": np.arange(3), "0/inputs": np.array([[0.5, -1.0]], dtype=np.float32)}
    write_arrays(tmp_path / "a.npz", arrays, {"dataset": "iris"})
    write_json(tmp_path / "a.json", {"seed": 0, "loss": [0.5, None], "name": "∇f·v"})
    readers: dict[str, Callable[[Path], Any]] = {"a.npz": read_arrays, "a.json": read_json}
    for name, read in readers.items():
        path, whole = tmp_path / name, (tmp_path / name).read_bytes()
        before, num_refused = repr(read(path)), 0
        for place in range(len(whole)):
            for flipped in (1, 0xFF):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ flipped]) + whole[place + 1 :])
                try:
                    read_again = repr(read(path))
                except ResultError as error:
                    read_again, num_refused = str(error), num_refused + 1
                assert read_again == before or read_again.startswith(f"{path}: ")
        assert num_refused > len(whole)


def test_the_way_to_rebuild_names_the_file_and_the_command() -> None:
    assert rebuild(Path("results/tables"), "-r ").startswith("Rebuild it: `rm -r results/tables`, then ")
    assert "make report" in rebuild(Path("a"))
    assert rebuild(Path("my results/a.json")).startswith("Rebuild it: `rm 'my results/a.json'`, then ")
