"""A web server on this machine that answers rightly, wrongly, or not at all."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers each path as `answers` says, else with 404, and counts the `requests` for each path."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.requests: dict[str, int] = defaultdict(int)
        self.stopped = threading.Event()
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def will(self, path: str, *answers: Answer) -> str:
        """Answer successive requests for `path` by `answers`, later ones by the last; return the address."""
        self.answers[path] = list(answers)
        return self.url + path

    def stop(self) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def send(self, content: bytes, *, announced: int | None = None, **headers: str) -> Answer:
        """Answer with `content`, whose announced length may be a lie."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content) if announced is None else announced))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)

        return answer

    def fail(self, status: int) -> Answer:
        return lambda handler: handler.send_error(status)

    def keep_silent(self) -> Answer:
        return lambda _: self._pause(60)

    def trickle(self, content: bytes, *, piece: int, pause_s: float) -> Answer:
        """Answer with `content` in pieces of `piece` bytes."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            for start in range(0, len(content), piece):
                handler.wfile.write(content[start : start + piece])
                if self._pause(pause_s):
                    return

        return answer

    def _pause(self, duration_s: float) -> bool:
        return self.stopped.wait(duration_s)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests[handler.path] += 1
        answers = self.answers[handler.path] or [self.fail(404)]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
            answer(handler)
