"""The page of a session that goes on, for browsers of this machine: who may ask, and what is answered.

It is one document with our script and our style in it, whose hashes its policy names, so that no other script runs and
nothing is loaded from elsewhere. What the cells look like it asks for with the token, which it has from behind the `#`
of the link: browsers send that part to nobody. A cookie would go to every server of this machine, whatever its port
(RFC 6265, section 8.5).
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import secrets
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Self

from nbtape.common.http_access import LOOPBACK, is_same_origin, name_in
from nbtape.export.html_parts import style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from nbtape.watch.page_state import Board

_log = logging.getLogger(__name__)

_ADDRESS: Final = "127.0.0.1"

#: Bytes of a question, which holds the marks of what the page has; and seconds for it to arrive.
_LARGEST: Final = 4_000_000
_SLOWEST: Final = 30

#: Seconds that go into the cells of one answer: what comes into view meanwhile is not to wait long.
_AT_ONCE: Final = 0.1

#: Seconds that a page waits for news before it asks again: it is open for as long as it asks, with some delay.
_PATIENCE: Final = 1.0
_DELAY: Final = 5.0

#: Seconds for a first page to come when the session has ended.
_FIRST: Final = 60.0

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
<noscript><p>This page fills by a script of its own: allow it for this address.</p></noscript>
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


class PageServer:
    """Serves pages from entering to leaving.

    Args:
        board: What they are told.
        port: Where it listens on loopback; 0 for any that is free.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(self, board: Board, port: int) -> None:
        self._token = secrets.token_urlsafe(24)
        self._readers = _Readers()
        try:
            self._server = _Server(port, board, self._token, self._readers)
        except OSError as exc:
            raise OSError(f"port {port} cannot be had: {exc.strerror or exc}. Name another --port, or none.") from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """The link that lets a browser in. Who has it sees everything; it is good for as long as this serves."""
        return f"http://{_ADDRESS}:{self._server.server_port}/#{self._token}"

    @property
    def is_awaited(self) -> bool:
        """Whether nobody has opened the page yet."""
        return not self._readers.came

    def linger(self) -> None:
        """Wait until each page that is open has everything, the first of them for a minute to come."""
        deadline = time.monotonic() + _FIRST
        while (self.is_awaited and time.monotonic() < deadline) or not self._readers.have_all():
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Readers:
    """Which pages are open, and whether they have everything, by their own word."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, bool]] = {}
        self.came = False

    def heard(self, page: str, *, has_all: bool) -> None:
        """A page has asked for news."""
        with self._lock:
            self.came = True
            self._open[page] = time.monotonic(), has_all

    def have_all(self) -> bool:
        """Whether nobody who is there lacks anything."""
        with self._lock:
            earliest = time.monotonic() - _PATIENCE - _DELAY
            self._open = {page: (heard, has_all) for page, (heard, has_all) in self._open.items() if heard > earliest}
            return all(has_all for _, has_all in self._open.values())


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # those that wait for news when it is to end
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, board: Board, token: str, readers: _Readers) -> None:
        self.board, self.readers, self.token = board, readers, token.encode()
        self.page, self.policy = _page()
        super().__init__((_ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        """Without asking any DNS server how we are called, as the standard library does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _ADDRESS, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (the library's)
        """Pages are closed in the middle of an answer."""
        _log.debug("A page was not answered", exc_info=True)


def _page() -> tuple[bytes, str]:
    """The document, and its policy."""
    ours = files("nbtape.watch")
    parts = {
        "style": style() + ours.joinpath("live.css").read_text(encoding="utf-8"),
        "script": ours.joinpath("live.js").read_text(encoding="utf-8"),
    }
    return _PAGE.format(**parts).encode(), _POLICY.format(**{name: _hash(text) for name, text in parts.items()})


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nbtape", ""
    timeout = _SLOWEST
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """The page, which holds nothing of the session."""
        if not self._is_ours():
            self._refuse(403, "This Host is not ours.")
        elif self.path != "/":
            self._refuse(404, "There is but one page here: /")
        else:
            self._answer(200, "text/html; charset=utf-8", self.server.page, policy=self.server.policy)

    def do_POST(self) -> None:
        """A question of the page: for cells, or for news."""
        if (refusal := self._refusal()) is not None:
            self._refuse(*refusal)
            return
        try:
            answer = self._answer_to(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            _log.debug("A question was not understood", exc_info=True)
            self._refuse(400, "This makes no sense.")
            return
        self._answer(200, "application/json", json.dumps(answer).encode())

    def _answer_to(self, question: dict[str, Any]) -> dict[str, Any]:
        if self.path == "/cells":
            wanted = [(int(number), frozenset(known)) for number, known in question["cells"]]
            return {"cells": list(self._cells(wanted))}
        has_all = bool(question["has_all"])
        self.server.readers.heard(str(question["page"])[:100], has_all=has_all)
        return self.server.board.news(int(question["since"]), 0 if has_all else _PATIENCE)

    def _cells(self, wanted: Iterable[tuple[int, frozenset[str]]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """As many of the cells as can be had at once; None for one that cannot be shown."""
        deadline = time.monotonic() + _AT_ONCE
        for number, known in wanted:
            try:
                yield number, self.server.board.cell(number, known)
            except Exception:  # noqa: BLE001  (whatever is in a cell, the page is to go on with the others)
                _log.warning("A cell cannot be shown on a page", exc_info=True)
                yield number, None
            if time.monotonic() > deadline:
                return

    def _refusal(self) -> tuple[int, str] | None:
        """The status of an answer to who may not ask, and why; None for who may."""
        origin, given = self.headers.get("Origin"), self.headers.get("Authorization", "")
        if not self._is_ours():
            return 403, "This Host is not ours."
        if origin is not None and not is_same_origin(origin, self.headers["Host"]):
            return 403, "This Origin is not ours."
        if not secrets.compare_digest(given.encode("utf-8", "replace"), b"Bearer " + self.server.token):
            return 401, "Open the link that nbtape watch has printed."
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > len(str(_LARGEST)) or int(size) > _LARGEST:
            return 413, "This question is too long, or says not how long it is."
        return None

    def _is_ours(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and name_in(hosts[0]) in LOOPBACK and hosts[0].endswith(f":{self.server.server_port}")

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # whatever was sent with the question is still to be read
        self._answer(status, "text/plain; charset=utf-8", why.encode())

    def _answer(self, status: int, kind: str, content: bytes, policy: str = "default-src 'none'; sandbox") -> None:
        self.send_response(status)
        headers = {**_HEADERS, "Content-Security-Policy": policy, "Content-Type": kind}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the library's)
        """To the log, and not to standard error."""
        _log.debug(format, *arguments)
