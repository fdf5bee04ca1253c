"""Values enter; their SHA-256 leave: the same for equal content, wherever and in whatever order it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def json_sha256(value: Any) -> str:
    """Return the SHA-256 of a value that JSON can hold; the order of keys plays no part, every bit of a float does.

    Raises ValueError for a float that is not finite.

    >>> json_sha256({"a": 1, "b": [0.1]}) == json_sha256({"b": [0.1], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of named arrays: their names, types, shapes and values.

    >>> arrays_sha256({"labels": np.array([0, 1])}) == arrays_sha256({"labels": np.array([1, 0])})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
