"""Connections that keep a server busy: with a partial request, without one, or with a whole one and then silence."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What such a connection sends; PORT stands for the server's port.
BEGINNINGS = {
    "nothing": b"",
    "half a line": b"GET /",
    "half a header": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Slow: ",
    "half a body": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 9\r\n\r\n{",
    "a chunk": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "a whole request": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
}


def begin(port: int, beginning: bytes) -> socket.socket:
    """Connect and send the beginning of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    with contextlib.suppress(ConnectionError):  # closed already
        connection.sendall(beginning.replace(b"PORT", str(port).encode()))
    return connection


@contextlib.contextmanager
def held(port: int, beginning: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Hold `count` such connections open."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(begin(port, beginning)) for _ in range(count)]


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection, with or without an answer first."""
    connection.settimeout(0)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
