"""A hash is of content alone: no order of keys, no layout in memory, and every bit of it."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgbench.digests import arrays_sha256, file_sha256, json_sha256

VALUE: dict[str, Any] = {"loss": [0.1, 1e300, None], "name": "∇f·v", "nested": {"b": True, "a": -0.0}}


def test_the_order_of_keys_plays_no_part() -> None:
    backwards = {"nested": {"a": -0.0, "b": True}, "name": "∇f·v", "loss": [0.1, 1e300, None]}
    assert list(backwards) != list(VALUE)
    assert json_sha256(backwards) == json_sha256(VALUE)


def test_the_order_of_a_list_does() -> None:
    assert json_sha256([0, 1]) != json_sha256([1, 0])


def test_the_hash_is_the_one_that_other_tools_compute() -> None:
    """As written for someone who checks it without fgbench: compact JSON, keys in order, ASCII."""
    text = '{"loss":[0.1,1e+300,null],"name":"\\u2207f\\u00b7v","nested":{"a":-0.0,"b":true}}'
    assert json_sha256(VALUE) == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_another_process_computes_the_same() -> None:
    script = f"from fgbench.digests import json_sha256; print(json_sha256({VALUE!r}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == json_sha256(VALUE)


@pytest.mark.parametrize("number", [0.1, 1.0, -0.0, 5e-324, 1.7976931348623157e308, 2.0**-1022])
def test_every_bit_of_a_float_matters(number: float) -> None:
    [bits] = np.array([number]).view(np.uint64)
    changed = [float((bits ^ np.uint64(1 << place)).view(np.float64)) for place in range(64)]
    finite = [value for value in changed if math.isfinite(value)]
    assert len(finite) >= 62
    assert len({json_sha256(value) for value in [number, *finite]}) == len(finite) + 1


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (0, False), (None, 0), ("1", 1), ([], {}), ("", None), ({"a": None}, {})]
)
def test_what_python_or_a_reader_may_take_for_equal_is_told_apart(one: Any, other: Any) -> None:
    assert json_sha256(one) != json_sha256(other)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [lambda x: x, lambda x: [x], lambda x: {"a": {"b": x}}])
def test_a_float_that_is_not_finite_is_refused(number: float, place: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_sha256(place(number))


def test_arrays_are_told_apart_by_names_types_shapes_and_values() -> None:
    zeros = np.zeros(4, dtype=np.int64)
    others = [
        {"b": zeros},
        {"a": zeros.astype(np.int32)},
        {"a": zeros.astype(">i8")},
        {"a": zeros.reshape(2, 2)},
        {"a": zeros + 1},
        {"a": zeros, "b": zeros},
        {"a": zeros.astype(np.float64)},
        {"a": -zeros.astype(np.float64)},
        {},
    ]
    assert len({arrays_sha256(arrays) for arrays in [{"a": zeros}, *others]}) == len(others) + 1


def test_how_arrays_lie_in_memory_plays_no_part() -> None:
    rows = np.arange(12.0).reshape(3, 4)
    scattered = np.zeros((6, 8))[::2, ::2]
    scattered[...] = rows
    digests = {
        arrays_sha256(arrays)
        for arrays in (
            {"a": rows, "b": rows[0]},
            {"b": rows[0], "a": rows},
            {"a": np.asfortranarray(rows), "b": rows[0]},
            {"a": scattered, "b": scattered[0]},
        )
    }
    assert len(digests) == 1


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "b")
