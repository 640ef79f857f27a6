"""The private API of jupyter_server that nbtape depends on.

jupyter_server drops messages that arrive while a connection breaks. Keeping them requires its table of open sessions
(`_open_sessions`) and its buffers (`_kernel_buffers`), which have no public API. There is also no public API for
choosing the sockets that it listens on.
`tests/servers/process/test_compat_jupyter_server.py` checks each use.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.websocket import WebSocketClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket as Socket  # noqa: N812  (`socket` is a name of fields elsewhere)


class KeepingChannels(ZMQChannelsWebsocketConnection):
    """A client's websocket that keeps messages that arrive while it breaks, until the client reconnects."""

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (traitlets')
        super().__init__(**traits)
        self._unsent: list[tuple[str, list[Any]]] = []
        self._was_open = self._returns = False

    def connect(self) -> Any:  # noqa: ANN401  (jupyter_server's)
        self._was_open = True
        self._returns = self._kept is not None
        return super().connect()

    def nudge(self) -> asyncio.Future[None]:
        """Skip the nudge of a kernel whose channels were kept, because it would drop the kernel's first messages."""
        if not self._returns:
            return super().nudge()
        nothing: asyncio.Future[None] = asyncio.Future()
        nothing.set_result(None)
        return nothing

    def handle_incoming_message(self, incoming_msg: Any) -> None:  # noqa: ANN401  (jupyter_server's)
        """Drop messages that arrive after the close: in the older protocol, they can keep the server busy."""
        if self.websocket_handler.ws_connection is not None:
            super().handle_incoming_message(incoming_msg)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:  # noqa: ANN401  (jupyter_server's)
        try:
            super().handle_outgoing_message(stream, outgoing_msg)
        except WebSocketClosedError:
            kept = self._unsent if self._kept is None else self._kept
            kept.append((stream.channel, outgoing_msg))

    def disconnect(self) -> None:  # type: ignore[override]  # as its base does
        if not self._was_open:  # jupyter_server would count one connection too few and drop kept messages
            if self._open_sessions.get(self.session_key) is self.websocket_handler:
                del self._open_sessions[self.session_key]
            return
        super().disconnect()  # type: ignore[no-untyped-call]
        if self._kept is not None:
            self._kept[:0] = self._unsent
            self._unsent = []

    @property
    def _kept(self) -> list[tuple[str, list[Any]]] | None:
        """The messages that the server keeps until the client reconnects; None if it is not keeping any."""
        kept = self.multi_kernel_manager._kernel_buffers.get(self.kernel_id)  # noqa: SLF001  (see above)
        return kept["buffer"] if kept and kept["session_key"] == self.session_key else None


class OwnSockets:
    """Hooks for jupyter_server's `ServerApp`: the sockets to listen on, and how to stop kernels."""

    http_server: Any
    port: int

    def open_sockets(self) -> Sequence[Socket]:
        """Return the sockets to listen on."""
        raise NotImplementedError

    def answering(self) -> None:
        """Run when the server answers on its sockets."""

    async def stop_kernels(self) -> None:
        """Stop running kernels before the server exits."""

    def _find_http_port(self) -> None:
        self._sockets = self.open_sockets()
        self.port = self._sockets[0].getsockname()[1]

    def _bind_http_server(self) -> None:
        self.http_server.add_sockets(self._sockets)
        self.answering()

    async def _cleanup(self) -> None:
        await self.stop_kernels()
