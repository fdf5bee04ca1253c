"""Fixtures for the tests of data sets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a port that nobody listens on."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"
