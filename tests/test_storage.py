"""A result is written whole or not at all, comes back to the last bit, and is refused by name where it is broken."""

from __future__ import annotations

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
from fgbench.storage import read_arrays, read_json, write_arrays, write_json, write_text, write_with

ARRAYS = {
    "0/inputs": np.arange(12, dtype=np.float32).reshape(3, 4),
    "0/labels": np.array([0, 1, 2], dtype=np.int64),
    "part": np.array(["train", "test"]),
    "images": np.zeros((2, 28, 28), dtype=np.uint8),
}

WRITERS: dict[str, Callable[[Path], None]] = {
    "write_text": lambda path: write_text(path, "new" * 10_000),
    "write_json": lambda path: write_json(path, {"new": "n" * 30_000}),
    "write_arrays": lambda path: write_arrays(path, {"new": np.zeros(10_000)}),
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
    write_arrays(tmp_path / "a.npz", ARRAYS)
    back = read_arrays(tmp_path / "a.npz")
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_same_arrays_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_arrays(tmp_path / "b.npz", {name: array.copy() for name, array in ARRAYS.items()})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_arrays_of_objects_are_refused_rather_than_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(tmp_path / "a.npz", {"x": np.array([None, {}], dtype=object)})
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
    with pytest.raises(
        ResultError, match=r"record\.json: cannot be read \(.*Delete it and run the study again"
    ):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "found"), [("[1, 2]", "a list"), ('"text"', "a str"), ("null", "a NoneType")]
)
def test_json_that_is_no_mapping_is_refused_by_name(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ResultError, match=rf"record\.json: a mapping was expected, {found} found"):
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
    write_arrays(path, ARRAYS)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        ResultError, match=r"split\.npz: cannot be read \(.*Delete it and run the study again"
    ):
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
