"""Serve MCP on streamable HTTP, and check each request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse

from nbtape.common.http_access import LOOPBACK, check_token, is_same_origin, name_in
from nbtape.common.http_limits import MAX_BODY_BYTES, MAX_HEADER_BYTES, NO_DESCRIPTOR, Connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from mcp.server.mcpserver import MCPServer

PATH: Final = "/mcp"

_SHUTDOWN_TIMEOUT_SECONDS: Final = 2

#: Poll interval for overdue connections.
_OVERDUE_POLL_SECONDS: Final = 0.5

#: Pause when the process has no file descriptor left for a connection.
_PAUSE_SECONDS: Final = 0.05

#: Maximum connections that asyncio and the operating system accept before they are counted.
_BACKLOG: Final = 32


class Guard:
    """ASGI middleware that requires a token, and refuses web pages of other servers (see `nbtape.common.http_access`).

    It follows https://modelcontextprotocol.io/specification/2026-07-28/basic/transports

    Args:
        app: The guarded application.
        token: The token that clients send as `Authorization: Bearer <token>`.
        hosts: The server's own names and addresses, in lower case.
        any_address: Whether any IP address is accepted as the host, for forwarded ports. DNS rebinding needs a name.
    """

    def __init__(
        self, app: Callable[..., Awaitable[None]], token: str, hosts: frozenset[str], *, any_address: bool = False
    ) -> None:
        check_token(token)
        self._app = app
        self._token = token.encode()
        self._hosts = hosts
        self._any_address = any_address

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """ASGI."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Mapping[str, Any]) -> PlainTextResponse | None:
        """The response to a request that is not allowed; None for one that is."""
        host, origin, authorization = (_header(scope, name) for name in (b"host", b"origin", b"authorization"))
        if host is None or not self._is_ours(host):
            return PlainTextResponse("The Host header is not allowed.", 403)
        if origin is not None and not is_same_origin(origin, host):
            return PlainTextResponse("The Origin header is not allowed.", 403)
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode("latin-1"), self._token):
            why = "Send the server's token as Authorization: Bearer <token>."
            return PlainTextResponse(why, 401, {"www-authenticate": 'Bearer realm="nbtape"'})  # as RFC 6750 requires
        return None

    def _is_ours(self, host: str) -> bool:
        name = name_in(host)
        return name is not None and (name in self._hosts or (self._any_address and _is_address(name)))


def _header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The value of a header; None if it is missing; empty, and so refused, if it is repeated."""
    values = [value for key, value in scope["headers"] if key == name]
    return None if not values else values[0].decode("latin-1") if len(values) == 1 else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class BodyLimit:
    """ASGI middleware that passes a request on once its body has arrived, and refuses a body that is too large.

    Args:
        app: The application.
        connections: The open connections, by the address of the client.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], connections: Connections) -> None:
        self._app = app
        self._connections = connections

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif (body := await _read_body(receive)) is None:
            why = f"The body is incomplete, or has more than {MAX_BODY_BYTES:,} bytes. Send a smaller request."
            await PlainTextResponse(why, 413, {"connection": "close"})(scope, receive, send)
        else:
            with self._connections.serving(scope["client"]):
                await self._app(scope, _Received(body, receive), send)


async def _read_body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """The body of a request; None if it is too large or the connection closes early."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body) if len(body) <= MAX_BODY_BYTES else None
    return None


class _Received:
    """An ASGI `receive` for a request whose body has arrived: returns the body, then later messages."""

    def __init__(self, body: bytes, receive: Callable[[], Awaitable[Any]]) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Any:  # noqa: ANN401  (a message of ASGI)
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


class Listening(socket.socket):
    """A listening socket whose `accept` copes with a process that has no file descriptor left.

    In that case, asyncio keeps calling `accept` and also schedules as many further attempts, which multiply.
    """

    connections: Connections | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; without a file descriptor for it, close a waiting one and raise BlockingIOError."""
        try:
            return super().accept()
        except OSError as exc:
            if exc.errno not in NO_DESCRIPTOR:
                raise
            if self.connections is None or not self.connections.make_room():
                time.sleep(_PAUSE_SECONDS)  # the connection stays in the queue, so asyncio tries again at once
            raise BlockingIOError(exc.errno, exc.strerror) from exc


def listen(host: str, port: int, *, allow_remote: bool) -> Listening:
    """Listen on a local name or address, on any free port if `port` is 0.

    Raises ValueError for an address that other machines can reach, unless `allow_remote` is true.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not allow_remote and not _is_loopback(str(address[0])):
            raise ValueError(
                f"{host} can be reached from other machines, and anyone with the token can run code. Use 127.0.0.1, "
                "or set allow_remote= and put a TLS proxy in front of the server."
            )
        return Listening(fileno=socket.create_server((str(address[0]), port), family=family).detach())
    except OSError as exc:
        raise OSError(
            f"The server cannot listen on {host}:{port}: {exc.strerror or exc}. Choose another host or port."
        ) from exc


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


async def serve_http(server: MCPServer, listening: Listening, token: str, host: str) -> None:
    """Serve clients on streamable HTTP until SIGTERM or Ctrl-C. `host` is accepted as the server's name."""
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    is_local = _is_loopback(listening.getsockname()[0])
    connections = listening.connections = Connections()
    # The guard is stricter than the SDK's own check, which would refuse the name of a remote server.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = Guard(
        BodyLimit(server.streamable_http_app(streamable_http_path=PATH, transport_security=unchecked), connections),
        token,
        LOOPBACK | {host.lower()} if is_local else LOOPBACK | {host.lower(), socket.gethostname().lower()},
        any_address=not is_local,
    )
    config = uvicorn.Config(
        app,
        http=_protocol(connections),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        backlog=min(_BACKLOG, connections.limit),
        proxy_headers=False,  # they would change the client's address
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_SECONDS,
    )
    async with _closing_overdue(connections):
        await uvicorn.Server(config).serve(sockets=[listening])


def _protocol(connections: Connections) -> type[asyncio.Protocol]:
    """Uvicorn's protocol with limited connections, based on h11: the httptools variant does not limit headers."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class BoundedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            self._key = _client(transport) or transport
            super().connection_made(transport)
            if not connections.add(self._key, transport.abort):
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.remove(self._key)
            super().connection_lost(exc)

    return BoundedProtocol


def _client(transport: asyncio.Transport) -> tuple[str, int] | None:
    """The address of a client as in an ASGI scope; None if it has already disconnected."""
    address = transport.get_extra_info("peername")
    return None if address is None else (str(address[0]), int(address[1]))


@contextlib.asynccontextmanager
async def _closing_overdue(connections: Connections) -> AsyncIterator[None]:
    async def close() -> None:
        while True:
            connections.close_overdue()
            await asyncio.sleep(_OVERDUE_POLL_SECONDS)

    task = asyncio.ensure_future(close())
    try:
        yield
    finally:
        task.cancel()
