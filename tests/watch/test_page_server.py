"""The server of the watch page: who is admitted, and what it answers."""

from __future__ import annotations

import http.client
import json
import logging
import os
import resource
import socket
import threading
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from half_requests import BEGINNINGS, begin, held, is_closed
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reading import eventually

from nbtape.common.http_limits import Connections
from nbtape.export.html_parts import Parts
from nbtape.watch.page_server import PageServer
from nbtape.watch.page_state import Board
from nbtape.watch.snapshots import SnapshotReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Notebook:
    """A notebook, and the board to which its snapshots are posted."""

    def __init__(self, path: Path) -> None:
        self.cells = [new_markdown_cell("*a*", id="a"), new_code_cell("b", id="b", execution_count=1)]
        self.board = Board(path.name)
        self._path = path
        self._reader = SnapshotReader(path)

    def post(self) -> None:
        nbformat.write(new_notebook(cells=self.cells), self._path)
        snapshot = self._reader.read()
        assert snapshot is not None
        self.board.post(snapshot)


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    notebook = Notebook(tmp_path / "x.ipynb")
    notebook.post()
    return notebook


@pytest.fixture
def server(notebook: Notebook) -> Iterator[PageServer]:
    with PageServer(notebook.board, 0) as server:
        yield server


QUESTION = {"page": "p", "since": 0, "has_all": False}


def ask(
    server: PageServer, path: str, question: object = None, method: str = "POST", **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a request, with the token unless the headers say otherwise; return the answer."""
    address, _, token = server.url.removeprefix("http://").partition("/#")
    connection = http.client.HTTPConnection(address, timeout=10)
    given = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, json.dumps(question) if question is not None else None, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def test_a_client_with_the_token_gets_updates_and_cells(server: PageServer) -> None:
    status, content, headers = ask(server, "/updates", QUESTION)
    updates = json.loads(content)
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert (updates["name"], updates["order"], updates["conclusion"]) == ("x.ipynb", [1, 2], "")
    assert updates["cells"] == [[1, 0, ""], [2, 1, "ok"]]
    ask(server, "/cells", {"cells": [[1, []]]})  # The first request imports the renderer, and may be cut short.
    _, content, _ = ask(server, "/cells", {"cells": [[1, []], [9, []]]})
    (one, prose), missing = json.loads(content)["cells"]
    assert (one, missing) == (1, [9, None])
    assert "<em>a</em>" in prose["parts"][0][1]


@pytest.mark.parametrize("path", ["/updates", "/cells", "/none"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:PORT"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1.evil.example:PORT"}, 403),
        ({"Host": "user@127.0.0.1:PORT"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer ünkown"}, 401),
        ({"Content-Length": "99999999"}, 413),
        ({"Content-Length": "-1"}, 413),
        ({"Content-Length": "9" * 5000}, 413),
    ],
)
def test_other_clients_are_rejected(path: str, headers: dict[str, str], status: int, server: PageServer) -> None:
    port = server.url.rpartition(":")[2].partition("/")[0]
    given = {name.replace("-", "_"): value.replace("PORT", port) for name, value in headers.items()}
    refused, content, _ = ask(server, path, QUESTION, **given)
    assert refused == status
    assert b"x.ipynb" not in content
    assert server.is_awaited


@pytest.mark.parametrize("path", ["/updates", "/cells"])
@pytest.mark.parametrize("question", [[], {}, {"since": [], "cells": 3}, {"cells": [[1e999, []]]}, "x", 1])
def test_an_invalid_request_is_rejected(path: str, question: object, server: PageServer) -> None:
    assert ask(server, path, question)[0] == 400
    assert ask(server, "/updates", QUESTION)[0] == 200


def test_the_page_itself_has_no_data_and_cannot_be_framed(server: PageServer) -> None:
    status, content, headers = ask(server, "/", method="GET", Authorization="")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "x.ipynb" not in content.decode()
    assert server.url.partition("#")[2] not in content.decode()
    assert ask(server, "/", method="GET", Host="evil.example")[0] == 403
    assert ask(server, "/x.ipynb", method="GET")[0] == 404
    assert ask(server, "/", method="DELETE")[0] == 501


def test_the_server_listens_on_one_address_only(server: PageServer) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(OSError, match=r"refused|assign|timed out"):  # Any other address fails like this one.
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_the_token_is_not_logged(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/", "/updates", "/cells"):
        for method in ("GET", "POST"):
            ask(server, path, QUESTION, method=method)
            ask(server, path, [], method=method)
    assert "POST /updates" in caplog.text
    assert server.url.partition("#")[2] not in caplog.text


def test_updates_wait_for_changes_and_contain_only_those(notebook: Notebook) -> None:
    board = notebook.board
    first = board.updates(0, 0)
    assert board.updates(first["revision"], 0) == {"revision": first["revision"], "conclusion": ""}
    told: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: told.append(board.updates(first["revision"], 20)))
    reader.start()
    notebook.cells[1]["outputs"] = [new_output("stream", text="one\n")]
    notebook.post()
    reader.join(20)
    (second,) = told
    assert second["cells"] == [[2, 1, "ok"]]
    assert second["order"] is None
    notebook.cells.insert(0, new_code_cell("new", id="c"))
    notebook.cells.pop()
    notebook.post()
    third = board.updates(second["revision"], 0)
    assert third["cells"] == [[3, 1, "not_run"], [1, 1, ""]]
    assert third["order"] == [3, 1]
    assert board.cell(2, ()) is None
    board.conclude("It is over.")
    assert board.updates(third["revision"], 0)["conclusion"] == "It is over."


def test_only_the_new_parts_of_a_grown_cell_are_sent(notebook: Notebook) -> None:
    outputs = notebook.cells[1]["outputs"] = [
        new_output("display_data", {"text/plain": "same"}),
        new_output("display_data", {"text/plain": "same"}),
        new_output("stream", text="one\n"),
    ]
    notebook.post()
    first = notebook.board.cell(2, ())
    assert first is not None
    marks = [mark for mark, _ in first["parts"]]
    assert len(set(marks)) == 4
    outputs[2]["text"] += "two\n"
    notebook.post()
    second = notebook.board.cell(2, marks)
    assert second is not None
    assert [mark for mark, _ in second["parts"]][:3] == marks[:3]
    assert [html is None for _, html in second["parts"]] == [True, True, True, False]
    assert "one\ntwo" in second["parts"][3][1]


def test_a_cell_that_cannot_be_rendered_does_not_affect_others(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Parts, "prose", lambda *_: 1 / 0)
    _, content, _ = ask(server, "/cells", {"cells": [[1, []], [2, []]]})
    broken, whole = json.loads(content)["cells"]
    assert broken == [1, None]
    assert len(whole[1]["parts"]) == 1
    assert "ZeroDivisionError" in caplog.text


def test_the_server_stops_when_every_open_page_has_everything(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbtape.watch.page_server.FIRST_PAGE_SECONDS", 0.2)
    server.linger()
    for page in ("one", "two"):
        ask(server, "/updates", {**QUESTION, "page": page})
    ending = threading.Thread(target=server.linger)
    ending.start()
    ask(server, "/updates", {**QUESTION, "page": "one", "has_all": True})
    ending.join(0.3)
    assert ending.is_alive()
    ask(server, "/updates", {**QUESTION, "page": "two", "has_all": True})
    ending.join(5)
    assert not ending.is_alive()


def port_of(server: PageServer) -> int:
    return int(server.url.rpartition(":")[2].partition("/")[0])


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_idle_connections_use_few_threads_and_block_no_one(beginning: str, server: PageServer) -> None:
    with held(port_of(server), BEGINNINGS[beginning], 300) as connections:
        assert ask(server, "/updates", QUESTION)[0] == 200
        assert eventually(lambda: threading.active_count() < server.connections.limit + 20)
        assert sum(map(is_closed, connections)) >= 300 - server.connections.limit


def test_incomplete_bodies_block_no_one_even_with_the_token(server: PageServer) -> None:
    token = server.url.partition("#")[2].encode()
    head = b"POST /updates HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer " + token
    with held(port_of(server), head + b"\r\nContent-Length: 4000000\r\n\r\n{", 100):
        assert ask(server, "/updates", QUESTION)[0] == 200


def test_a_page_keeps_its_connection_while_others_are_idle(server: PageServer) -> None:
    address, _, token = server.url.removeprefix("http://").partition("/#")
    page = http.client.HTTPConnection(address, timeout=10)
    for _ in range(2):
        page.request("POST", "/updates", json.dumps(QUESTION), {"Authorization": f"Bearer {token}"})
        answer = page.getresponse()
        assert (answer.status, answer.read()[:1]) == (200, b"{")
        kept = page.sock
        with held(port_of(server), BEGINNINGS["half a header"], 100):
            pass
    assert page.sock is kept
    page.close()


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_an_incomplete_request_times_out(beginning: str, notebook: Notebook) -> None:
    server = PageServer(notebook.board, 0)
    server.connections = Connections(seconds=0.3)
    with server, held(port_of(server), BEGINNINGS[beginning], 3) as connections:
        for connection in connections:
            assert eventually(lambda connection=connection: is_closed(connection))  # type: ignore[misc]


def test_a_request_that_arrives_byte_by_byte_times_out(notebook: Notebook) -> None:
    server = PageServer(notebook.board, 0)
    server.connections = Connections(seconds=0.3)
    with server, begin(port_of(server), BEGINNINGS["half a header"]) as connection:

        def drip() -> bool:
            try:
                connection.send(b"x")
            except ConnectionError:
                return True
            return False

        assert eventually(drip)


@pytest.mark.parametrize("lines", [b"X: " + b"x" * 60_000 + b"\r\n", b"X: " + b"x" * 1000 + b"\r\n"])
def test_the_total_size_of_headers_is_limited(lines: bytes, server: PageServer) -> None:
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
    with begin(port_of(server), head + lines * 90) as connection, connection.makefile("rb") as answer:
        assert b" 431 " in answer.readline()
    assert ask(server, "/updates", QUESTION)[0] == 200


def test_an_endless_request_line_is_cut_off(server: PageServer) -> None:
    with begin(port_of(server), b"GET /" + b"x" * 60_000) as connection:
        assert eventually(lambda: is_closed(connection))


def test_without_free_file_descriptors_a_waiting_connection_is_closed(server: PageServer) -> None:
    """The next client gets an answer even while no file descriptor is free."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    request = BEGINNINGS["a whole request"].replace(b"PORT", str(port_of(server)).encode())
    with begin(port_of(server), BEGINNINGS["half a header"]) as waiting, socket.socket() as client:
        assert eventually(lambda: server.connections._open)
        client.settimeout(20)
        fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]  # Leaves no gap below the limit.
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1, before[1]))
            client.connect(("127.0.0.1", port_of(server)))
            client.sendall(request)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for filler in fillers:
                os.close(filler)
        assert is_closed(waiting)
