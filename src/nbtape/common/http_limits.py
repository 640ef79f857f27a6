"""Limits of nbtape's HTTP servers: number of connections, size of a request, and time for it to arrive."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

#: Maximum bytes of a request line with its headers, and of a body.
MAX_HEADER_BYTES: Final = 32_768
MAX_BODY_BYTES: Final = 4_000_000

#: How long a connection may take to send its first or next complete request with the token.
REQUEST_SECONDS: Final = 10.0

#: Errors of `accept` when the process or the system has no room for another connection.
NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_MAX_CONNECTIONS: Final = 64


def max_connections() -> int:
    """Maximum connections of a server: at most a quarter of the files that this process may have open."""
    if sys.platform == "win32":
        return _MAX_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(4, min(_MAX_CONNECTIONS, soft // 4))


@dataclass(slots=True)
class _Connection:
    """An open connection: how to close it, when it started to wait, and whether it has sent the token before."""

    close: Callable[[], None]
    since: float
    is_serving: bool = False
    is_known: bool = False


class Connections:
    """The open connections of a server, limited in number and time. Can be used from any thread.

    A connection waits until a complete request with the token has arrived, and again after the answer. Waiting
    connections are closed when they are overdue. If a new connection exceeds the limit, one that waits is closed:
    first those that never sent the token, the oldest first. So another local user who holds connections open cannot
    keep clients out.

    Args:
        limit: How many connections may be open.
        seconds: How long a connection may wait.
    """

    def __init__(self, limit: int | None = None, seconds: float = REQUEST_SECONDS) -> None:
        self.limit = limit or max_connections()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Connection] = {}

    def add(self, key: Hashable, close: Callable[[], None]) -> bool:
        """Add a connection; False if there is no room because all others are being served.

        Args:
            key: Its identity.
            close: Closes it; called at most once, and must not block.
        """
        if len(self._open) >= self.limit and not self.make_room():
            return False
        with self._lock:
            self._open[key] = _Connection(close, time.monotonic())
        return True

    def remove(self, key: Hashable) -> None:
        """Remove a closed connection."""
        with self._lock:
            self._open.pop(key, None)

    @contextlib.contextmanager
    def serving(self, key: Hashable) -> Iterator[None]:
        """Mark a connection as being served: while entered, it has no time limit."""
        with self._lock:
            if (connection := self._open.get(key)) is not None:
                connection.is_serving = connection.is_known = True
        try:
            yield
        finally:
            if connection is not None:
                connection.since, connection.is_serving = time.monotonic(), False

    def make_room(self) -> bool:
        """Close a waiting connection; False if none waits."""
        with self._lock:
            waiting = [key for key, each in self._open.items() if not each.is_serving]
            if not waiting:
                return False
            first = min(waiting, key=lambda key: (self._open[key].is_known, self._open[key].since))
            connection = self._open.pop(first)
        connection.close()
        return True

    def close_overdue(self) -> None:
        """Close the connections that have waited too long."""
        earliest = time.monotonic() - self._seconds
        with self._lock:
            overdue = [key for key, each in self._open.items() if not each.is_serving and each.since < earliest]
            connections = [self._open.pop(key) for key in overdue]
        for connection in connections:
            connection.close()
