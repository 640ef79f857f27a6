"""What a container says, the last of it, and our hold of its standard input: when we are gone, so is that."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

from docker.utils.socket import frames_iter

#: Bytes that are kept.
_KEPT: Final = 64 << 10


class Words:
    """The standard streams of one container.

    Args:
        stream: The socket that the engine gives for them.
    """

    def __init__(self, stream: Any) -> None:  # noqa: ANN401  (docker-py has several kinds)
        self._stream = stream
        self._socket = getattr(stream, "_sock", stream)
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="nbtape-container", daemon=True)
        self._reader.start()

    def are_over(self) -> bool:
        """Whether the container has ended."""
        return not self._reader.is_alive()

    def last(self) -> str:
        """The last that it said."""
        with self._lock:
            return self._kept.decode(errors="replace")

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(1)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for _, words in frames_iter(self._stream, tty=False):
                with self._lock:
                    self._kept += words
                    del self._kept[:-_KEPT]
        for each in (self._stream, self._socket, self._stream._response):  # noqa: SLF001  (docker-py keeps it there)
            with contextlib.suppress(OSError, ValueError):  # ValueError: what it wants to flush is closed
                each.close()
