"""Files of results: written whole or not at all, with a hash of their content; read, or refused by name."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from fgbench.digests import arrays_sha256, json_sha256
from fgbench.errors import ResultError
from fgbench.types import Json

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """What an .npz file holds: arrays by name, and a mapping about them."""

    arrays: Arrays
    about: Json


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Json) -> None:
    """Write `value` with sorted keys and, beside them, the hash of it all.

    Floats keep every bit, and one that is not finite is refused (say None). A list of plain values takes one line.
    """
    write_text(path, _json_text(value | {"sha256": json_sha256(value)}) + "\n")


def read_json(path: Path, *, keys: Iterable[str] = (), way_out: str | None = None) -> Json:
    """Return the mapping that `write_json` wrote; `way_out` is what to do about a broken one, if not `rebuild`.

    Raises ResultError where the file is missing, cut short, changed since, not a mapping, or lacks one of `keys`.
    """
    way_out = way_out or rebuild(path)
    with _reading(path, way_out):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ResultError(f"{path}: a mapping was expected, a {type(value).__name__} found. {way_out}")
    if missing := [key for key in (*keys, "sha256") if key not in value]:
        raise ResultError(
            f"{path}: is no file of the kind expected, it has no {', '.join(missing)}. {way_out}"
        )
    recorded = value.pop("sha256")
    with _reading(path, way_out):
        found = json_sha256(value)
    _require_unchanged(path, recorded, found, way_out)
    return value


def write_arrays(path: Path, arrays: Arrays, about: Json) -> None:
    """Write arrays by name to one .npz file, whole or not at all, with a mapping and the hash of both."""
    text = json.dumps(about | {"sha256": _stored_sha256(arrays, about)}, sort_keys=True, allow_nan=False)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **{_ABOUT: np.array(text)})

    _write(path, write)


def read_arrays(path: Path) -> Stored:
    """Return what `write_arrays` wrote.

    Raises ResultError where the file is missing, cut short, changed since, or of another kind.
    """
    # Not np.load: to a file that is no .npz it answers with the advice to unpickle it.
    with _reading(path, rebuild(path)), path.open("rb") as file, NpzFile(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
        about = dict(json.loads(str(arrays.pop(_ABOUT, "{}"))))
        recorded = about.pop("sha256", None)
        found = _stored_sha256(arrays, about)
    if recorded is None:
        raise ResultError(f"{path}: is no file of the kind expected, it has no sha256. {rebuild(path)}")
    _require_unchanged(path, recorded, found, rebuild(path))
    return Stored(arrays, about)


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary path of the same ending, then rename it to `path`."""
    _write(path, write)


def rebuild(path: Path, option: str = "") -> str:
    """Return the sentence that says how a result is made anew; `option` is one more for `rm`."""
    return (
        f"Rebuild it: `rm {option}{shlex.quote(str(path))}`, then the study's command again (`make report`, "
        "with its CONFIG): only what depends on it is done again."
    )


def host_name() -> str:
    """Return this machine's name, as it may stand in a file's name."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


_ABOUT = "about"


def _stored_sha256(arrays: Arrays, about: Json) -> str:
    return json_sha256({"arrays": arrays_sha256(arrays), "about": about})


def _require_unchanged(path: Path, recorded: object, found: str, way_out: str) -> None:
    if recorded != found:
        raise ResultError(
            f"{path}: was changed after it was written (recorded SHA-256 {recorded}, found {found}). {way_out}"
        )


def _json_text(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each key, and for each list of plain values."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        lines = [f"{json.dumps(key)}: {_json_text(value[key], inner)}" for key in sorted(value)]
        return f"{{\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        lines = [_json_text(one, inner) for one in value]
        return f"[\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


@contextmanager
def _reading(path: Path, way_out: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        first = "Run the stage that writes it first (see `fgbench --help`)."
        raise ResultError(f"{path}: no such file. {first if way_out == rebuild(path) else way_out}") from None
    except Exception as error:  # what zipfile and NumPy raise at damaged bytes has no common base
        raise ResultError(f"{path}: cannot be read ({error}). {way_out}") from error


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it: a reader never sees a half."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-{host_name()}-{os.getpid()}-", suffix=path.suffix, dir=path.parent
        )
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
