"""Read the output of a container, and hold its standard input open: the container stops when this process is gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final

from docker.utils.socket import frames_iter

from nbtape.servers.docker.compat_docker import response_of, socket_of

if TYPE_CHECKING:
    from typing import Any

#: Maximum bytes of output that are kept.
_KEPT_BYTES: Final = 64 << 10


class ContainerLogs:
    """The standard streams of one container, read from the socket that the engine opens for them."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401  (docker-py has several kinds)
        self._stream = stream
        self._socket = socket_of(stream)
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="nbtape-container", daemon=True)
        self._reader.start()

    def are_over(self) -> bool:
        """Whether the container has stopped."""
        return not self._reader.is_alive()

    def last(self) -> str:
        """The end of its output."""
        with self._lock:
            return self._kept.decode(errors="replace")

    def close(self) -> None:
        """Close the streams."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(1)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for _, text in frames_iter(self._stream, tty=False):
                with self._lock:
                    self._kept += text
                    del self._kept[:-_KEPT_BYTES]
        for each in (self._stream, self._socket, response_of(self._stream)):
            with contextlib.suppress(OSError, ValueError):  # ValueError: it flushes a closed stream
                each.close()
