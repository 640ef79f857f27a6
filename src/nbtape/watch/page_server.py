"""Serve the page of a running session to local browsers.

The page is one document, whose content security policy allows only its own script and style, by their hashes. It
requests the cells with the token after the `#` of its link, which browsers do not send to servers. A cookie would be
sent to every port (RFC 6265, 8.5).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import logging
import secrets
import socket
import socketserver
import threading
import time
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Self

from nbtape.common.http_access import LOOPBACK, is_same_origin, name_in
from nbtape.common.http_limits import MAX_BODY_BYTES, MAX_HEADER_BYTES, NO_DESCRIPTOR, REQUEST_SECONDS, Connections
from nbtape.export.html_parts import style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nbtape.watch.page_state import Board

_log = logging.getLogger(__name__)

_ADDRESS: Final = "127.0.0.1"

#: Pause when the process has no file descriptor left for a connection.
_PAUSE_SECONDS: Final = 0.1

#: Time limit for rendering the cells of one answer; cells that scroll into view later wait for the next answer.
_RENDER_SECONDS: Final = 0.1

#: How long a request for updates waits, and how soon after that the page must ask again to count as open.
UPDATE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0

#: How long to wait for the page to be opened after the session has ended.
FIRST_PAGE_SECONDS: Final = 60.0

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<base target="_blank">
<title>nbtape watch</title>
<style>{style}</style>
</head>
<body>
<p id="state" role="status">Connecting…</p>
<header class="run-summary">
<h1 id="name"></h1>
<div id="counts"></div>
<dl id="facts"></dl>
<div id="strip" class="run-strip"></div>
</header>
<main></main>
<button id="newest" type="button" hidden>↓ newest</button>
<noscript><p>This page needs its own script. Enable JavaScript for this address.</p></noscript>
<script>{script}</script>
</body>
</html>
"""

_POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; style-src-elem '{style}'; "
    "style-src-attr 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types nbtape; "
    "sandbox allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox"
)

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """Serves the page of a session to local browsers while entered; `port` 0 is any free port.

    Each connection has its own thread, so `Connections` limits both.

    Raises:
        OSError: The port is not available.
    """

    daemon_threads = True  # requests that wait for updates do not delay the exit
    block_on_close = False
    request_queue_size = 512  # they wait in the operating system and take no file descriptor

    def __init__(self, board: Board, port: int) -> None:
        self.board, self.token = board, secrets.token_urlsafe(24)
        self.connections = Connections()
        self.page, self.policy = _page()
        # The pages that were opened: when each last asked for updates, and whether it was complete then.
        self.pages: dict[str, tuple[float, bool]] = {}
        try:
            super().__init__((_ADDRESS, port), _Handler)
        except OSError as exc:
            raise OSError(
                f"port {port} is not available: {exc.strerror or exc}. Choose another --port, or leave it out."
            ) from exc
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """The link that gives a browser access while this serves. Anyone who has it can see the whole session."""
        return f"http://{_ADDRESS}:{self.server_port}/#{self.token}"

    @property
    def is_awaited(self) -> bool:
        """Whether the page has not been opened yet."""
        return not self.pages

    def linger(self) -> None:
        """Wait until each open page is complete, and at most `FIRST_PAGE_SECONDS` for a first page."""
        deadline = time.monotonic() + FIRST_PAGE_SECONDS
        while (self.is_awaited and time.monotonic() < deadline) or self._is_behind():
            time.sleep(0.05)

    def _is_behind(self) -> bool:
        """Whether an open page is incomplete."""
        earliest = time.monotonic() - UPDATE_SECONDS - RETRY_SECONDS
        return any(asked > earliest and not has_all for asked, has_all in self.pages.copy().values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def server_bind(self) -> None:
        """Bind without the DNS query of `HTTPServer.server_bind`."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _ADDRESS, self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; without a file descriptor for it, close a waiting one."""
        try:
            return super().get_request()
        except OSError as exc:
            if exc.errno in NO_DESCRIPTOR:
                self.connections.make_room()
                time.sleep(_PAUSE_SECONDS)  # it stays in the queue, so the caller would retry at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (the library's)
        """Serve a connection in a thread, if there is room."""
        if self.connections.add(request, lambda: _shut_down(request)):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401  (the library's)
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close overdue connections. Called by `serve_forever`, at least ten times a second."""
        self.connections.close_overdue()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (the library's)
        """Log that the browser has closed a page during an answer."""
        _log.debug("A page was not answered", exc_info=True)


def _shut_down(connection: socket.socket) -> None:
    """Wake the thread that reads a connection, which then closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _page() -> tuple[bytes, str]:
    """The document and its content security policy."""
    ours = files("nbtape.watch")
    parts = {
        "style": style() + ours.joinpath("live.css").read_text(encoding="utf-8"),
        "script": ours.joinpath("live.js").read_text(encoding="utf-8"),
    }
    return _PAGE.format(**parts).encode(), _POLICY.format(**{name: _hash(text) for name, text in parts.items()})


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _RequestReader(io.BufferedReader):
    """Reads requests whose lines before the body are limited in total; `http.server` limits only each line."""

    left = MAX_HEADER_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(self.left + 1 if size is None or size < 0 else min(size, self.left + 1))
        self.left -= len(line)
        if self.left < 0:
            raise HTTPException(f"The headers have more than {MAX_HEADER_BYTES} bytes.")  # is answered with 431
        return line


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nbtape", ""
    timeout = REQUEST_SECONDS
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Limit the size of requests."""
        super().setup()
        self.rfile = self._reader = _RequestReader(self.rfile.detach())

    def handle_one_request(self) -> None:
        """Read and answer a request."""
        self._reader.left = MAX_HEADER_BYTES
        super().handle_one_request()

    def do_GET(self) -> None:
        """Serve the page, which contains no data of the session."""
        if not self._is_ours():
            self._refuse(403, "The Host header is not allowed.")
        elif self.path != "/":
            self._refuse(404, "The only page is /")
        else:
            self._answer(200, "text/html; charset=utf-8", self.server.page, policy=self.server.policy)

    def do_POST(self) -> None:
        """Answer a request of the page for cells or for updates."""
        if (refusal := self._refusal()) is not None:
            self._refuse(*refusal)
            return
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            self.close_connection = True  # by the page, or because it was overdue
            return
        with self.server.connections.serving(self.connection):
            self._answer_question(body)

    def _answer_question(self, body: bytes) -> None:
        try:
            answer = self._answer_to(json.loads(body))
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            _log.debug("A request is invalid", exc_info=True)
            self._refuse(400, "The request is invalid.")
            return
        self._answer(200, "application/json", json.dumps(answer).encode())

    def _answer_to(self, question: dict[str, Any]) -> dict[str, Any]:
        if self.path == "/cells":
            wanted = [(int(number), frozenset(known)) for number, known in question["cells"]]
            return {"cells": list(self._cells(wanted))}
        has_all = bool(question["has_all"])
        self.server.pages[str(question["page"])[:100]] = time.monotonic(), has_all
        return self.server.board.updates(int(question["since"]), 0 if has_all else UPDATE_SECONDS)

    def _cells(self, wanted: Iterable[tuple[int, frozenset[str]]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """As many of the cells as can be rendered in time; None for a cell that cannot be rendered."""
        deadline = time.monotonic() + _RENDER_SECONDS
        for number, known in wanted:
            try:
                yield number, self.server.board.cell(number, known)
            except Exception:  # noqa: BLE001  (a hostile cell must not block the others)
                _log.warning("A cell cannot be shown on the page", exc_info=True)
                yield number, None
            if time.monotonic() > deadline:
                return

    def _refusal(self) -> tuple[int, str] | None:
        """The HTTP status and the reason of a refusal; None for a valid request."""
        origin, given = self.headers.get("Origin"), self.headers.get("Authorization", "")
        if not self._is_ours():
            return 403, "The Host header is not allowed."
        if origin is not None and not is_same_origin(origin, self.headers["Host"]):
            return 403, "The Origin header is not allowed."
        if not secrets.compare_digest(given.encode("utf-8", "replace"), f"Bearer {self.server.token}".encode()):
            return 401, "Open the link that nbtape watch printed."
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > len(str(MAX_BODY_BYTES)) or int(size) > MAX_BODY_BYTES:
            return 413, "The request is too long or has no valid Content-Length."
        return None

    def _is_ours(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and name_in(hosts[0]) in LOOPBACK and hosts[0].endswith(f":{self.server.server_port}")

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # the body of the request is unread
        self._answer(status, "text/plain; charset=utf-8", why.encode())

    def _answer(self, status: int, kind: str, content: bytes, policy: str = "default-src 'none'; sandbox") -> None:
        self.send_response(status)
        headers = {"Content-Security-Policy": policy, "Content-Type": kind, "Content-Length": str(len(content))}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the library's)
        """Log a request instead of printing it."""
        _log.debug(format, *arguments)
