"""A file's name, address and digest enter; the path of a file with that very content leaves, or one error."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from fgbench.digests import file_sha256
from fgbench.errors import DataError, ResultError
from fgbench.storage import write_text
from fgbench.types import VerifiedFile
from fgbench.wording import address_text

MIRROR_VARIABLE = "FGBENCH_MIRROR"

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1024
_UNKNOWN_ORIGIN = "kept from an earlier run"


@dataclass(frozen=True)
class UpstreamFile:
    """A file as its publisher describes it; `digest` is hexadecimal, `algorithm` md5 or sha256."""

    name: str
    url: str
    algorithm: str
    digest: str


class UnavailableError(DataError):
    """No address gave a data set's file; the one failure that a stand-in may answer.

    The message is the `reason`, which says what was tried, and the `way_out`.
    """

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}. {way_out}")
        self.reason = reason
        self.way_out = way_out


Fetch: TypeAlias = Callable[[UpstreamFile], tuple[Path, VerifiedFile]]
"""What a data set asks for its files: a `Fetcher`, or a test's stand-in for one."""


@dataclass(frozen=True)
class Fetcher:
    """Fetches files into `folder`, from `mirrors` first, then from upstream; nothing is fetched twice.

    A mirror is a folder, or the http(s) address of one, that holds files under their upstream names; so
    `folder` itself can serve as a mirror. An http address gets `attempts` tries, `pause_s` apart, each with
    `answer_s` seconds from looking up its name to the beginning of the answer. A transfer may last as long as
    it brings `min_bytes_per_s`, averaged over spans of `stall_s`. A host that cannot be reached, or stalls,
    is remembered and not asked again by the same fetcher.

    Raises DataError where a mirror is neither a folder nor an http(s) address, before anything is fetched.
    """

    folder: Path
    mirrors: tuple[str, ...] = ()
    attempts: int = 2
    pause_s: float = 0.4
    answer_s: float = 3.5
    stall_s: float = 8.0
    min_bytes_per_s: float = 1024.0
    _dead_hosts: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Drop empty mirrors and refuse impossible ones."""
        mirrors = tuple(_checked_mirror(mirror) for mirror in self.mirrors if mirror.strip())
        object.__setattr__(self, "mirrors", mirrors)

    def __call__(self, file: UpstreamFile) -> tuple[Path, VerifiedFile]:
        """Return the path of `file`, its content checked by this call, and the record of what it is.

        Raises UnavailableError where no address gives the file with its published digest, and DataError where
        `folder` cannot be written.
        """
        import pooch

        path = self.folder / file.name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                found = pooch.file_hash(str(path), alg=file.algorithm)
                if found == file.digest:
                    return path, _verified(file, path, _read_origin(path))
                _log.warning(
                    "%s: the kept copy is damaged (%s %s); it is fetched again", path, file.algorithm, found
                )
            origin = self._fetch(file)
            with suppress(ResultError):
                write_text(_origin_path(path), origin + "\n")
            return path, _verified(file, path, origin)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read or written ({_root_cause(error)}). Nothing was left "
                "half-written; free the space, or make the folder one that can be written, and run again."
            ) from None

    def _fetch(self, file: UpstreamFile) -> str:
        """Fetch `file` from the first address that has it; return that address."""
        outcomes = []
        for address in (*(_join(mirror, file.name) for mirror in self.mirrors), file.url):
            try:
                self._fetch_from(address, file)
            except _FetchError as failure:
                outcomes.append(f"{address_text(address)}: {failure}")
                _log.info("%s: %s", file.name, outcomes[-1])
            else:
                _log.info("%s: fetched from %s", file.name, address_text(address))
                return address_text(address)
        raise UnavailableError(
            f"{file.name} could not be fetched; expected {file.algorithm} {file.digest}; tried "
            + "; ".join(outcomes),
            f"To supply it, put {file.name} in a folder and name that folder in {MIRROR_VARIABLE} "
            "or in data.mirrors of the config.",
        )

    def _fetch_from(self, address: str, file: UpstreamFile) -> None:
        host = urlsplit(address).netloc if _is_http(address) else ""
        if host in self._dead_hosts:
            raise _FetchError(f"not asked again, the host failed before ({self._dead_hosts[host]})")
        for attempt in range(1, self.attempts + 1):
            try:
                self._retrieve(address, file)
            except _FetchError as failure:
                if failure.may_pass and attempt < self.attempts:
                    time.sleep(self.pause_s)
                    continue
                if failure.host_is_dead:
                    self._dead_hosts[host] = str(failure)
                raise
            return

    def _retrieve(self, address: str, file: UpstreamFile) -> None:
        """Let pooch fetch to a temporary file, which it renames once the digest is right."""
        import pooch

        def download(url: str, output_file: str, _pooch: object) -> None:
            chunks = self._http_chunks(url) if _is_http(url) else _file_chunks(Path(url))
            with Path(output_file).open("wb") as output:
                output.writelines(chunks)
            found = pooch.file_hash(output_file, alg=file.algorithm)
            if found != file.digest:
                raise _FetchError(_wrong_content(Path(output_file), file, found))
            Path(output_file).chmod(0o644)  # pooch's temporary files are their owner's alone

        pooch.get_logger().setLevel("WARNING")  # its news would name temporary paths; ours stand above
        pooch.retrieve(
            url=address,
            known_hash=f"{file.algorithm}:{file.digest}",
            fname=file.name,
            path=self.folder,
            downloader=download,
        )

    def _http_chunks(self, url: str) -> Iterator[bytes]:
        """Yield the body at `url`, bounding in time what no socket's time-out bounds.

        A name server that never answers, a host with many dead addresses, a byte now and then: none of them
        is ended by a socket's time-out. So a thread does the waiting, and may be left to it: it is a daemon
        and writes nothing. Its socket's time-out ends it, long after whoever waited has given up.
        """
        events: _Events = queue.SimpleQueue()
        abandoned = threading.Event()
        timeout_s = 2 * (self.answer_s + self.stall_s)
        threading.Thread(target=_download, args=(url, timeout_s, events, abandoned), daemon=True).start()
        try:
            if _next_event(events, self.answer_s) is None:
                raise _FetchError(f"no answer within {self.answer_s:g} s", may_pass=True, host_is_dead=True)
            yield from self._steady(events, url)
        finally:
            abandoned.set()

    def _steady(self, events: _Events, url: str) -> Iterator[bytes]:
        """Yield chunks until the end; raise where a span of `stall_s` brings less than it should."""
        span_end, in_span, in_all = time.monotonic() + self.stall_s, 0, 0
        while (chunk := _next_event(events, span_end - time.monotonic())) != _BOUNDARY:
            if chunk is not None:
                in_span, in_all = in_span + len(chunk), in_all + len(chunk)
                yield chunk
                continue
            if in_span < self.min_bytes_per_s * self.stall_s:
                stall = f"stalled after {in_all} bytes ({in_span} bytes in {self.stall_s:g} s)"
                raise _FetchError(stall, may_pass=True, host_is_dead=True)
            _log.info("%s: %d bytes so far", address_text(url), in_all)
            span_end, in_span = time.monotonic() + self.stall_s, 0


def mirrors_from(config_mirrors: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the mirrors to try, in order: those of the environment's FGBENCH_MIRROR, then the config's.

    Commas part several mirrors in FGBENCH_MIRROR (a colon or a blank may be part of one).

    >>> mirrors_from(["/data"], {"FGBENCH_MIRROR": "my files, http://localhost:8000"})
    ('my files', 'http://localhost:8000', '/data')
    >>> mirrors_from([], {})
    ()
    """
    named = (*environment.get(MIRROR_VARIABLE, "").split(","), *config_mirrors)
    return tuple(dict.fromkeys(mirror.strip() for mirror in named if mirror.strip()))


_Events = queue.SimpleQueue["bytes | Exception"]
_BOUNDARY = b""
"""Stands in the queue once where the answer begins and once where it ends; chunks stand between."""


class _FetchError(Exception):
    """Why an address did not give the file; whether that may pass, whether its host is to be left alone."""

    def __init__(self, outcome: str, *, may_pass: bool = False, host_is_dead: bool = False) -> None:
        super().__init__(outcome)
        self.may_pass = may_pass
        self.host_is_dead = host_is_dead


def _download(url: str, timeout_s: float, events: _Events, abandoned: threading.Event) -> None:
    """Put the body at `url` into `events`, chunk by chunk, or the error that ended it."""
    import requests

    # The file's own bytes are wanted: many a server labels a .gz file as an encoding to be undone on arrival.
    headers = {"Accept-Encoding": "identity"}
    try:
        with requests.get(url, stream=True, timeout=timeout_s, headers=headers) as response:
            if response.status_code != requests.codes.ok:
                may_pass = response.status_code >= 500 or response.status_code in {408, 429}
                raise _FetchError(f"HTTP status {response.status_code}", may_pass=may_pass)
            events.put(_BOUNDARY)
            for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                if abandoned.is_set():
                    return
                events.put(chunk)
            events.put(_BOUNDARY)
    except Exception as error:
        events.put(error)


def _next_event(events: _Events, timeout_s: float) -> bytes | None:
    """Return the next chunk or boundary, or None where none comes in time; raise what ended the download."""
    try:
        event = events.get(timeout=max(timeout_s, 0))
    except queue.Empty:
        return None
    if isinstance(event, Exception):
        raise _as_fetch_error(event) from None
    return event


def _as_fetch_error(error: Exception) -> Exception:
    """Say in a few words what requests and urllib3 say in many; leave other errors as they are."""
    import requests
    import urllib3

    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return _FetchError(f"not reached ({_root_cause(error)})", may_pass=True, host_is_dead=True)
    cause = error.__cause__
    if isinstance(cause, urllib3.exceptions.IncompleteRead):
        cut = f"cut short after {cause.partial} bytes, {cause.expected} bytes before its end"
        return _FetchError(cut, may_pass=True)
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return _FetchError(f"broken off ({_root_cause(error)})", may_pass=True)
    return error


def _root_cause(error: BaseException) -> str:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(getattr(error, "strerror", None) or error)


def _file_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content; what goes wrong in reading is the address's failure, not the reader's."""
    try:
        yield path.read_bytes()
    except OSError as error:
        raise _FetchError(error.strerror or str(error)) from None


def _wrong_content(path: Path, file: UpstreamFile, found: str) -> str:
    with path.open("rb") as content:
        start = content.read(256).lstrip().lower()
    what = "an HTML page, not the file" if start.startswith((b"<!doctype html", b"<html")) else "not the file"
    return f"{what}: found {file.algorithm} {found} in {path.stat().st_size} bytes"


def _checked_mirror(mirror: str) -> str:
    mirror = mirror.strip()
    if _is_http(mirror) and urlsplit(mirror).netloc:
        return mirror.rstrip("/")
    folder = Path(mirror).expanduser()
    if "://" not in mirror and folder.is_dir():
        return str(folder)
    found = (
        "an address of another kind" if "://" in mirror else "a file" if folder.exists() else "no such folder"
    )
    raise DataError(
        f"mirror {mirror!r}: a folder or an http(s) address is needed, this is {found}. "
        f"Mirrors are named in data.mirrors of the config and, parted by commas, in {MIRROR_VARIABLE}."
    )


def _join(mirror: str, name: str) -> str:
    return f"{mirror}/{quote(name)}" if _is_http(mirror) else str(Path(mirror) / name)


def _is_http(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


def _verified(file: UpstreamFile, path: Path, origin: str) -> VerifiedFile:
    return VerifiedFile(
        name=file.name,
        algorithm=file.algorithm,
        digest=file.digest,
        sha256=file_sha256(path),
        origin=origin,
    )


def _origin_path(path: Path) -> Path:
    return path.with_name(path.name + ".origin")


def _read_origin(path: Path) -> str:
    """Return where a kept file came from; it is a note, and losing it is no error."""
    try:
        return _origin_path(path).read_text(encoding="utf-8").strip() or _UNKNOWN_ORIGIN
    except (OSError, UnicodeDecodeError):
        return _UNKNOWN_ORIGIN
