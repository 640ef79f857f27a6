"""A websocket to a kernel's channels that reconnects whenever it breaks.

It always uses the same session id. If the server noticed the break and no other client was connected, it then delivers
what the kernel sent in the meantime.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from nbtape.kernels.remote.wire import BINARY, JsonWire, wire_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from nbtape.kernels.protocols import Message
    from nbtape.kernels.remote.connection import JupyterConnectionInfo
    from nbtape.kernels.remote.wire import Wire

logger = logging.getLogger(__name__)

#: Maximum bytes of a frame, which takes three times as much memory.
_MAX_FRAME_BYTES: Final = 256 << 20
#: Timeout of one attempt to connect, and the interval of checks that the kernel exists in the meantime.
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_KERNEL_POLL_SECONDS: Final = 1.0
#: First and longest pause between attempts; each is twice the previous one.
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0
#: How long the server may be silent before it is pinged, and before the connection counts as broken.
_PING_AFTER_SECONDS: Final = 5
_BROKEN_AFTER_SECONDS: Final = 15


class Listener(Protocol):
    """The user of a connection."""

    def connection_opened(self) -> None:
        """The connection is open, for the first time or again."""

    async def frame_received(self, frame: bytes | str) -> None:
        """A frame arrived. The next one is read when this returns."""

    async def connection_silent(self) -> None:
        """Nothing has arrived for five seconds, although the connection is open."""

    def connection_lost(self) -> None:
        """The connection broke; a new one will be opened."""


class WebsocketConnection:
    """A connection to the channels of one kernel, whose events go to `listener`.

    The server keeps messages for `session_id` while the connection is broken. `why_gone` asks the server why the kernel
    no longer exists; it returns an empty string if the kernel may exist.
    """

    def __init__(
        self,
        info: JupyterConnectionInfo,
        context: ssl.SSLContext | None,
        kernel_id: str,
        session_id: str,
        why_gone: Callable[[], Awaitable[str]],
        listener: Listener,
    ) -> None:
        self._info = info
        self._context = context
        self._kernel_id = kernel_id
        self._session_id = session_id
        self._why_gone = why_gone
        self._listener = listener
        self._outbox: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._is_listener_busy = False
        self.wire: Wire = JsonWire()
        self.is_open = False
        #: When the connection was lost (`time.monotonic`), and a sentence on why.
        self.lost_at = time.monotonic()
        self.last_error = ""
        #: Whether the server should keep messages while the connection is broken.
        self.keeps_session = False
        #: If False, `run` returns when the connection breaks.
        self.reconnects = True

    def send(self, channel: str, message: Message) -> None:
        """Send a message, now or after reconnecting. A message sent while the connection breaks may be lost."""
        self._outbox.put_nowait((channel, message))

    async def run(self) -> str:
        """Stay connected until the kernel no longer exists; return a sentence on why."""
        while self.reconnects:
            try:
                async with await self._connect() as connection:
                    self._retry_seconds = _FIRST_RETRY_SECONDS
                    await self._converse(connection)
            except _KernelGoneError as gone:
                return str(gone)
            except (OSError, WebSocketException, TimeoutError) as exc:
                self.last_error = _explain(exc)
                logger.info("No connection to kernel %s on %s: %s", self._kernel_id, self._info.url, self.last_error)
                if cause := await self._why_gone():
                    return cause
                if not self.keeps_session or _is_session_stuck(exc):
                    self._session_id = uuid.uuid4().hex
                await asyncio.sleep(self._retry_seconds)
                self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
        return ""

    async def _connect(self) -> ClientConnection:
        """Open a connection. A server may answer only after the kernel has started, so check that it still exists."""
        attempt = asyncio.ensure_future(self._handshake().__aenter__())
        try:
            while not (await asyncio.wait({attempt}, timeout=_KERNEL_POLL_SECONDS))[0]:
                if cause := await self._why_gone():
                    raise _KernelGoneError(cause)
            return attempt.result()
        finally:
            attempt.cancel()

    def _handshake(self) -> _Connect:
        options: dict[str, Any] = {} if self._context is None else {"ssl": self._context}
        if self._info.unix_socket is not None:
            options |= {"unix": True, "path": str(self._info.unix_socket)}
        return _Connect(
            f"{self._info.websocket_api}kernels/{self._kernel_id}/channels?session_id={self._session_id}",
            create_connection=_PromptConnection,
            additional_headers=self._info.secret_headers,
            logger=_NoDebugLogger(logging.getLogger("websockets.client")),
            subprotocols=[Subprotocol(BINARY)],
            proxy=None if self._info.is_loopback else True,
            compression=None,
            open_timeout=_CONNECT_TIMEOUT_SECONDS,
            close_timeout=1,
            ping_interval=None,  # its deadline would break a connection that is busy with much output; see _watch
            max_size=_MAX_FRAME_BYTES,
            **options,
        )

    async def _converse(self, connection: ClientConnection) -> None:
        """Send and receive until the connection breaks."""
        assert isinstance(connection, _PromptConnection)
        self.wire = wire_of(connection.subprotocol)
        self.is_open = True
        self._listener.connection_opened()
        helpers = [
            asyncio.create_task(self._send_queued(connection)),
            asyncio.create_task(self._watch(connection)),
        ]
        try:
            async for frame in connection:
                self._is_listener_busy = True
                await self._listener.frame_received(frame)
                self._is_listener_busy = False
        except ConnectionClosed as exc:
            self.last_error = _explain(exc)
        finally:
            for helper in helpers:
                helper.cancel()
            self.is_open = False
            self.lost_at = time.monotonic()
            self._listener.connection_lost()

    async def _send_queued(self, connection: ClientConnection) -> None:
        while True:
            channel, message = await self._outbox.get()
            with contextlib.suppress(ConnectionClosed):  # the listener finds out what was lost
                await connection.send(self.wire.encode(channel, message))

    async def _watch(self, connection: _PromptConnection) -> None:
        """Break a connection whose other side is gone without closing it."""
        silent_seconds = 0
        while True:
            count = connection.received_count
            await asyncio.sleep(1)
            if connection.received_count != count or self._is_listener_busy:
                silent_seconds = 0
                continue
            silent_seconds += 1
            if silent_seconds == _PING_AFTER_SECONDS:
                with contextlib.suppress(ConnectionClosed):
                    await connection.ping()
                await self._listener.connection_silent()
            if silent_seconds >= _BROKEN_AFTER_SECONDS:
                logger.warning("Kernel %s on %s is silent; reconnecting.", self._kernel_id, self._info.url)
                connection.transport.abort()


class _KernelGoneError(Exception):
    """The kernel no longer exists; the message says why."""


class _Connect(connect):
    """websockets' `connect` without redirects, which would send the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _NoDebugLogger(logging.LoggerAdapter[logging.Logger]):
    """websockets' logger without the level DEBUG, which would log headers with the token."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  (logging's)
        return level > logging.DEBUG and super().isEnabledFor(level)


class _PromptConnection(ClientConnection):
    """A connection that counts received data and acknowledges it at once.

    Servers built on Tornado use Nagle's algorithm: they send the second part of an answer after the first has been
    acknowledged. Linux delays that by 40 ms unless the option is set again after each receive (tcp(7)).
    """

    received_count = 0

    def data_received(self, data: bytes) -> None:
        self.received_count += 1
        super().data_received(data)
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError, AttributeError):
                self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _is_session_stuck(exc: Exception) -> bool:
    """Whether the server may never accept the session id again.

    jupyter_server 2.21 never does if the connection broke while it was being prepared.
    """
    return isinstance(exc, InvalidStatus) and exc.response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR


def _explain(exc: Exception) -> str:
    """A sentence on why there is no connection."""
    if isinstance(exc, InvalidStatus):
        return f"The server rejects the connection (HTTP {exc.response.status_code})."
    if isinstance(exc, TimeoutError):
        return "The server does not answer."
    return f"{str(exc).rstrip('.')}."
