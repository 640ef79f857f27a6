"""Which connections are closed to admit others, and which are overdue."""

from __future__ import annotations

import resource

import pytest

from nbtape.common.http_limits import Connections, max_connections


class Server:
    """Connections by name, and the closed ones in order."""

    def __init__(self, limit: int = 2, seconds: float = 60) -> None:
        self.connections = Connections(limit, seconds)
        self.closed: list[str] = []

    def add(self, *names: str) -> list[bool]:
        return [self.connections.add(name, lambda name=name: self.closed.append(name)) for name in names]  # type: ignore[misc]

    def answer(self, name: str) -> None:
        with self.connections.serving(name):
            pass


def test_the_connection_idle_for_longest_is_closed_first() -> None:
    server = Server()
    assert server.add("a", "b", "c", "d") == [True] * 4
    assert server.closed == ["a", "b"]


def test_a_connection_that_has_sent_the_token_is_closed_last() -> None:
    server = Server()
    server.add("known")
    server.answer("known")
    server.add("a", "b", "c")
    assert server.closed == ["a", "b"]


def test_a_connection_is_not_closed_while_its_request_is_served() -> None:
    server = Server(seconds=0)
    server.add("a", "b")
    with server.connections.serving("a"), server.connections.serving("b"):
        server.connections.close_overdue()
        assert server.add("c") == [False]
    assert server.closed == []
    assert server.add("c") == [True]
    assert server.closed == ["b"]  # b finished its request first.


def test_only_idle_connections_past_the_limit_are_overdue() -> None:
    server = Server(limit=9, seconds=0)
    server.add("a", "b")
    with server.connections.serving("b"):
        server.connections.close_overdue()
    assert server.closed == ["a"]
    server.connections.close_overdue()
    assert server.closed == ["a", "b"]
    patient = Server()
    patient.add("a")
    patient.connections.close_overdue()
    assert patient.closed == []


def test_a_removed_connection_no_longer_counts() -> None:
    server = Server()
    server.add("a", "b")
    server.connections.remove("a")
    server.connections.remove("a")
    server.add("c")
    assert server.closed == []


@pytest.mark.parametrize(("files", "connections"), [(1 << 14, 64), (256, 64), (64, 16), (8, 4)])
def test_the_connection_limit_leaves_file_descriptors_for_other_uses(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert max_connections() == connections
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert max_connections() == 64
