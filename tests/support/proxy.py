"""A proxy between client and server that cuts, delays and drops traffic."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

T = TypeVar("T")


class Proxy:
    """Forwards TCP connections to a local port.

    Args:
        target: The port.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        #: The number of kernel websockets that were requested.
        self.websockets = 0
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")

    def cut(self) -> None:
        """Close every connection; data in transit arrives, as when a proxy restarts gracefully."""
        self._do(self._each("end"))

    def tear(self) -> None:
        """Reset every connection; data in transit is lost, as when a cable is unplugged."""
        self._do(self._each("tear"))

    def swallow(self) -> None:
        """Keep every connection open but forward nothing, as when a firewall has dropped its state."""
        self._do(self._each("swallow"))

    def close(self) -> None:
        """Accept no more connections."""
        self._do(self._close())

    def open(self) -> None:
        """Accept connections again, on the same port."""
        self._do(self._open())

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self.tear()
        self._do(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _each(self, action: str) -> None:
        for link in set(self._links):
            getattr(link, action)()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((reader, writer), there, self._look)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def _look(self, sent: bytes) -> None:
        self.websockets += b"/channels?" in sent.partition(b"\r\n")[0]


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection: from the client to the proxy, and from the proxy to the server."""

    def __init__(self, client: Stream, server: Stream, look: Callable[[bytes], None]) -> None:
        self._client, self._server = client, server
        self._look = look
        self._may_pass = asyncio.Event()
        self._may_pass.set()

    async def run(self) -> None:
        up = asyncio.ensure_future(self._pump(self._client[0], self._server[1], self._look))
        down = asyncio.ensure_future(self._pump(self._server[0], self._client[1]))
        try:
            await asyncio.wait({up, down})
        finally:
            self.tear()

    def end(self) -> None:
        """The server sees the close at once; the client sees it after all data from the server has arrived."""
        with contextlib.suppress(OSError):
            self._server[1].write_eof()

    def tear(self) -> None:
        self._may_pass.set()
        self._client[1].transport.abort()
        self._server[1].transport.abort()

    def swallow(self) -> None:
        self._may_pass.clear()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None] | None = None
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the proxy has already closed the other side
            while data := await reader.read(1 << 16):
                if look is not None:
                    look(data)
                await self._may_pass.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
