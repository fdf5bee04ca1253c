"""Files of results: written whole or not at all, read or refused by name."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from fgbench.errors import ResultError
from fgbench.types import Json


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Json) -> None:
    """Write `value` with sorted keys; floats keep every bit, and a NaN is refused (say None)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *, keys: Iterable[str] = ()) -> Json:
    """Return the mapping in a JSON file.

    Raises ResultError where the file is missing, cut short, not a mapping, or lacks one of `keys`.
    """
    with _reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ResultError(f"{path}: a mapping was expected, a {type(value).__name__} found. {_REBUILD}")
    if missing := [key for key in keys if key not in value]:
        raise ResultError(
            f"{path}: is no file of the kind expected, it has no {', '.join(missing)}. {_REBUILD}"
        )
    return value


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays by name to one .npz file, whole or not at all."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    _write(path, write)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file by name.

    Raises ResultError where the file is missing or cut short.
    """
    # Not np.load: to a file that is no .npz it answers with the advice to unpickle it.
    with _reading(path), path.open("rb") as file, NpzFile(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary path of the same ending, then rename it to `path`."""
    _write(path, write)


_REBUILD = "Delete it and run the study again: only what depends on it is rebuilt."


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ResultError(
            f"{path}: no such file. Run the stage that writes it first (see `fgbench --help`)."
        ) from None
    except (OSError, ValueError, EOFError, RecursionError, BadZipFile) as error:
        raise ResultError(f"{path}: cannot be read ({error}). {_REBUILD}") from error


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it: a reader never sees a half."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be written ({error.strerror or error}). Nothing was left half-written; free the "
            "space or name another folder (`results` in the config), then run again: finished work is kept."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
