"""A file is verified or refused, whatever a mirror or upstream answers."""

from __future__ import annotations

import errno
import gzip
import hashlib
import logging
import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import Server

from fgbench.datasets.files import Fetcher, UnavailableError, UpstreamFile, mirrors_from
from fgbench.errors import DataError

CONTENT = b"length,depth\n" + b"0.25,0.5\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


def upstream(url: str, *, content: bytes = CONTENT, algorithm: str = "sha256") -> UpstreamFile:
    return UpstreamFile("table.csv", url, algorithm, hashlib.new(algorithm, content).hexdigest())


def quick(folder: Path, *mirrors: str, answer_s: float = 10.0, stall_s: float = 0.5) -> Fetcher:
    """A fetcher that loses its patience sooner than the real one."""
    return Fetcher(folder, mirrors, pause_s=0.01, answer_s=answer_s, stall_s=stall_s)


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    return tmp_path / "resources"


@pytest.fixture
def folder_mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "table.csv").write_bytes(CONTENT)
    return folder


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_arrives_from_upstream_with_its_record(
    server: Server, resources: Path, algorithm: str
) -> None:
    file = upstream(server.will("/table.csv", server.send(CONTENT)), algorithm=algorithm)
    path, verified = quick(resources)(file)
    assert path == resources / "table.csv"
    assert path.read_bytes() == CONTENT
    assert (verified.name, verified.algorithm, verified.digest) == (file.name, algorithm, file.digest)
    assert verified.sha256 == SHA256
    assert verified.origin == file.url


def test_a_kept_file_is_never_fetched_again_and_its_origin_is_remembered(
    server: Server, resources: Path
) -> None:
    file = upstream(server.will("/table.csv", server.send(CONTENT)))
    first = quick(resources)(file)
    second = quick(resources)(file)
    assert second == first
    assert server.requests == {"/table.csv": 1}


def test_a_kept_file_whose_origin_is_lost_is_still_good(resources: Path, refused: str) -> None:
    resources.mkdir()
    (resources / "table.csv").write_bytes(CONTENT)
    _, verified = quick(resources)(upstream(refused))
    assert verified.origin == "kept from an earlier run"


def test_a_damaged_kept_file_is_fetched_again_and_the_log_says_so(
    server: Server, resources: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = upstream(server.will("/table.csv", server.send(CONTENT)))
    path, _ = quick(resources)(file)
    path.write_bytes(CONTENT[:-1] + b"!")
    with caplog.at_level(logging.WARNING):
        path, _ = quick(resources)(file)
    assert path.read_bytes() == CONTENT
    assert server.requests == {"/table.csv": 2}
    assert "damaged" in caplog.text


def test_mirrors_are_asked_in_order_and_before_upstream(
    server: Server, resources: Path, folder_mirror: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    file = upstream(server.will("/table.csv", server.send(CONTENT)))
    _, verified = quick(resources, "", str(empty), str(folder_mirror), server.url + "/m")(file)
    assert verified.origin == str(folder_mirror / "table.csv")
    assert server.requests == {}


def test_an_http_mirror_is_a_folder_of_files_under_their_upstream_names(
    server: Server, resources: Path, refused: str
) -> None:
    server.will("/data/table.csv", server.send(CONTENT))
    _, verified = quick(resources, server.url + "/data/")(upstream(refused + "/elsewhere/table.csv"))
    assert verified.origin == server.url + "/data/table.csv"


def test_a_corrupt_mirror_is_passed_over(server: Server, resources: Path, folder_mirror: Path) -> None:
    (folder_mirror / "table.csv").write_bytes(b"something else")
    file = upstream(server.will("/table.csv", server.send(CONTENT)))
    path, verified = quick(resources, str(folder_mirror))(file)
    assert path.read_bytes() == CONTENT
    assert verified.origin == file.url


def test_a_file_labelled_as_an_encoding_is_kept_as_published(server: Server, resources: Path) -> None:
    packed = gzip.compress(CONTENT)
    url = server.will("/table.csv", server.send(packed, Content_Encoding="gzip"))
    path, _ = quick(resources)(upstream(url, content=packed))
    assert path.read_bytes() == packed


def test_a_passing_server_error_is_outlived(server: Server, resources: Path) -> None:
    url = server.will("/table.csv", server.fail(500), server.send(CONTENT))
    assert quick(resources)(upstream(url))[0].read_bytes() == CONTENT
    assert server.requests == {"/table.csv": 2}


def test_a_truncated_transfer_is_tried_again(server: Server, resources: Path) -> None:
    url = server.will("/table.csv", server.send(CONTENT[:99], announced=len(CONTENT)), server.send(CONTENT))
    assert quick(resources)(upstream(url))[0].read_bytes() == CONTENT


def test_a_slow_but_living_line_is_waited_for(server: Server, resources: Path) -> None:
    """The whole takes several times the span after which a standstill would be given up."""
    url = server.will("/table.csv", server.trickle(CONTENT, piece=1100, pause_s=0.2))
    start = time.monotonic()
    assert quick(resources, stall_s=0.6)(upstream(url))[0].read_bytes() == CONTENT
    assert time.monotonic() - start > 1.2


WRONG = b"wrong content"
BAD_ANSWERS = {
    "wrong content": (
        lambda s: s.send(WRONG),
        f"not the file: found sha256 {hashlib.sha256(WRONG).hexdigest()} in 13 bytes",
        1,
    ),
    "an empty file": (lambda s: s.send(b""), "in 0 bytes", 1),
    "an HTML page": (lambda s: s.send(PAGE), "an HTML page, not the file", 1),
    "cut short": (lambda s: s.send(CONTENT[:99], announced=len(CONTENT)), "cut short after 99 bytes", 2),
    "404": (lambda s: s.fail(404), "HTTP status 404", 1),
    "500": (lambda s: s.fail(500), "HTTP status 500", 2),
    "silence": (lambda s: s.keep_silent(), "no answer within 0.3 s", 2),
    "trickle": (lambda s: s.trickle(CONTENT, piece=1, pause_s=0.05), "stalled after", 2),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_bad_answer_is_one_clear_error_and_leaves_nothing(
    server: Server, resources: Path, kind: str
) -> None:
    answer, outcome, num_requests = BAD_ANSWERS[kind]
    url = server.will("/table.csv", answer(server))
    with pytest.raises(UnavailableError) as caught:
        quick(resources, answer_s=0.3 if kind == "silence" else 10.0)(upstream(url))
    message = str(caught.value)
    assert f"table.csv could not be fetched; expected sha256 {SHA256}; tried {url}: " in message
    assert outcome in message
    assert "put table.csv in a folder and name that folder in FGBENCH_MIRROR or in data.mirrors" in message
    assert "\n" not in message
    assert server.requests == {"/table.csv": num_requests}
    assert list(resources.iterdir()) == []


def test_the_error_tells_what_every_address_answered(
    server: Server, resources: Path, folder_mirror: Path, refused: str
) -> None:
    (folder_mirror / "table.csv").unlink()
    with pytest.raises(UnavailableError) as caught:
        quick(resources, str(folder_mirror), server.url)(upstream(refused + "/table.csv"))
    for outcome in (
        f"{folder_mirror}/table.csv: No such file or directory",
        f"{server.url}/table.csv: HTTP status 404",
        f"{refused}/table.csv: not reached (Connection refused)",
    ):
        assert outcome in str(caught.value)


def test_a_password_in_a_mirrors_address_is_not_told(server: Server, resources: Path, refused: str) -> None:
    server.will("/table.csv", server.send(CONTENT))
    with_password = server.url.replace("://", "://me:secret@")
    _, verified = quick(resources, with_password)(upstream(refused))
    assert verified.origin == server.url + "/table.csv"
    with pytest.raises(UnavailableError) as caught:
        quick(resources, with_password)(UpstreamFile("other.csv", refused, "md5", "0" * 32))
    assert "secret" not in str(caught.value)


def test_a_dead_host_is_asked_once_per_fetcher(resources: Path, refused: str) -> None:
    fetch = quick(resources)
    with pytest.raises(UnavailableError, match="not reached"):
        fetch(upstream(refused + "/table.csv"))
    with pytest.raises(UnavailableError, match=r"not asked again.*Connection refused"):
        fetch(upstream(refused + "/other.csv"))


def test_a_name_server_that_never_answers_is_given_up_in_time(
    resources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def never(*_: object, **__: object) -> None:
        over.wait(60)
        raise socket.gaierror("over")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setenv("NO_PROXY", "*")
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        quick(resources, answer_s=0.2)(upstream("http://upstream.invalid/table.csv"))
    assert time.monotonic() - start < 30
    over.set()


def test_two_dead_upstream_hosts_cost_less_than_twenty_seconds() -> None:
    """Each data set of the default study has its own host, and each host is given up once."""
    fetch = Fetcher(Path("unused"))
    assert fetch.answer_s <= 10
    assert 2 * (fetch.attempts * fetch.answer_s + (fetch.attempts - 1) * fetch.pause_s) < 20


def test_two_that_fetch_at_the_same_time_both_get_the_file(server: Server, resources: Path) -> None:
    file = upstream(server.will("/table.csv", server.trickle(CONTENT, piece=3000, pause_s=0.05)))
    with ThreadPoolExecutor(2) as pool:
        paths = [
            path for path, _ in pool.map(lambda fetch: fetch(file), [quick(resources), quick(resources)])
        ]
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert {path.name for path in resources.iterdir()} == {"table.csv", "table.csv.origin"}


@pytest.mark.parametrize(
    ("mirror", "found"),
    [
        ("{tmp}/a-file", "a file"),
        ("{tmp}/nowhere", "no such folder"),
        ("ftp://host/data", "an address of another kind"),
        ("http://", "an address of another kind"),
    ],
)
def test_an_impossible_mirror_is_refused_before_anything_is_fetched(
    tmp_path: Path, mirror: str, found: str
) -> None:
    (tmp_path / "a-file").touch()
    mirror = mirror.format(tmp=tmp_path)
    with pytest.raises(DataError, match=found) as caught:
        Fetcher(tmp_path / "resources", (mirror,))
    assert not isinstance(caught.value, UnavailableError)
    assert mirror in str(caught.value)


def test_a_folder_that_cannot_be_written_is_no_unavailable_file(tmp_path: Path, folder_mirror: Path) -> None:
    in_the_way = tmp_path / "resources"
    in_the_way.touch()
    with pytest.raises(DataError, match=r"resources.*File exists") as caught:
        quick(in_the_way, str(folder_mirror))(upstream("http://upstream.invalid"))
    assert not isinstance(caught.value, UnavailableError)


def test_a_full_disk_leaves_nothing_half_written_and_is_no_unavailable_file(
    resources: Path, folder_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "move", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        quick(resources, str(folder_mirror))(upstream("http://upstream.invalid"))
    assert not isinstance(caught.value, UnavailableError)
    assert list(resources.iterdir()) == []


def test_mirrors_of_the_environment_come_before_those_of_the_config() -> None:
    environment = {"FGBENCH_MIRROR": " /with a blank,http://host:8000 ,, "}
    assert mirrors_from(["/config", ""], environment) == ("/with a blank", "http://host:8000", "/config")
