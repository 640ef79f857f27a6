"""Limits of nbtape's HTTP servers: how many connections, how large a request, and how long it may take to arrive."""

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

#: Of a request line with its headers, and of a body.
MAX_HEADER_BYTES: Final = 32_768
MAX_BODY_BYTES: Final = 4_000_000

#: How long a connection may take to send a complete request with the token, its first one or the next one.
REQUEST_SECONDS: Final = 10.0

#: How `accept` fails when the process or the system has no room for one more connection.
NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_MAX_CONNECTIONS: Final = 64


def max_connections() -> int:
    """How many connections a server holds: at most a quarter of the files that this process may have open."""
    if sys.platform == "win32":
        return _MAX_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(4, min(_MAX_CONNECTIONS, soft // 4))


@dataclass(slots=True)
class _Connection:
    """An open connection: how to close it, since when it waits, and whether it has sent the token before."""

    close: Callable[[], None]
    since: float
    is_serving: bool = False
    is_known: bool = False


class Connections:
    """The open connections of a server, which are bounded in number and in time. It can be used from any thread.

    A connection waits until a complete request with the token has arrived, and again when that is answered. Waiting
    ones are closed when they are overdue, and make room when one more arrives than may be open: first those that never
    sent the token, the oldest first. So another user of this machine who holds connections keeps no client out.

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
        """Hold one more connection; False if there is no room, because each of the others is being served.

        Args:
            key: What identifies it.
            close: Closes it; is called at most once, and must not block.
        """
        if len(self._open) >= self.limit and not self.make_room():
            return False
        with self._lock:
            self._open[key] = _Connection(close, time.monotonic())
        return True

    def remove(self, key: Hashable) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._open.pop(key, None)

    @contextlib.contextmanager
    def serving(self, key: Hashable) -> Iterator[None]:
        """Answer a request with the token: while entered, the connection may take as long as it likes."""
        with self._lock:
            if (connection := self._open.get(key)) is not None:
                connection.is_serving = connection.is_known = True
        try:
            yield
        finally:
            if connection is not None:
                connection.since, connection.is_serving = time.monotonic(), False

    def make_room(self) -> bool:
        """Close a waiting connection; False if there is none."""
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
