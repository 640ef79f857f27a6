"""The MCP server on streamable HTTP: who may call it, and how it is served."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.http_access import LOOPBACK, check_token, is_same_origin, name_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.mcpserver import MCPServer

#: Where it is on the server.
PATH: Final = "/mcp"

#: Seconds that open requests have to end when the server is to end.
_GRACE: Final = 2


class Guard:
    """An ASGI application behind the one that it guards: who has no token, or comes through a browser, gets nowhere.

    Who comes through a browser is judged as `nbtape.common.http_access` says. See
    https://modelcontextprotocol.io/specification/2026-07-28/basic/transports

    Args:
        app: What is guarded.
        token: What lets a client in, as `Authorization: Bearer <token>`.
        hosts: The names that are ours, and the addresses; in lower case.
        any_address: Whether any other address is ours, too: that of a port which is forwarded. No DNS server has a say
            about addresses.

    Raises:
        ValueError: An empty token.
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
        if scope["type"] != "lifespan" and (refusal := self._refusal(scope)) is not None:
            await _refuse(send, *refusal)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Mapping[str, Any]) -> tuple[int, str] | None:
        """The status of an answer to who may not call, and why; None for who may."""
        host, origin, authorization = (_header(scope, name) for name in (b"host", b"origin", b"authorization"))
        if host is None or not self._is_ours(host):
            return 403, "This Host is not ours."
        if origin is not None and not is_same_origin(origin, host):
            return 403, "This Origin is not ours."
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode("latin-1"), self._token):
            return 401, "Send the token of this server as Authorization: Bearer <token>."
        return None

    def _is_ours(self, host: str) -> bool:
        name = name_in(host)
        return name is not None and (name in self._hosts or (self._any_address and _is_address(name)))


def _header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The one value of a header; None if there is none, and nothing that anybody takes if there are several."""
    values = [value for key, value in scope["headers"] if key == name]
    return None if not values else values[0].decode("latin-1") if len(values) == 1 else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


async def _refuse(send: Callable[[Any], Awaitable[None]], status: int, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 401:  # noqa: PLR2004  (the one that says how to come in: RFC 6750)
        headers.append((b"www-authenticate", b'Bearer realm="nbtape"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """A socket that waits for clients.

    Args:
        host: A name or an address of this machine.
        port: 0 for any that is free.
        allow_remote: Whether it may be one that other machines reach.

    Raises:
        ValueError: It is, and may not be.
        OSError: It cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not allow_remote and not _is_loopback(str(address[0])):
            raise ValueError(
                f"{host} can be reached from other machines, and who has the token runs code here: give 127.0.0.1, or "
                "say --allow-remote, and have a proxy put TLS in front of it."
            )
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as exc:
        raise OSError(f"The server cannot listen on {host}:{port}: {exc.strerror or exc}. Name another one.") from exc


def url_of(listening: socket.socket) -> str:
    """Where clients find the server that listens there."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


async def serve_http(server: MCPServer, listening: socket.socket, token: str, host: str) -> None:
    """Serve clients on streamable HTTP, until SIGTERM or Ctrl-C.

    Args:
        server: The server.
        listening: Where clients come in.
        token: What lets them in.
        host: The name that this was asked to listen on, which clients may use.

    Raises:
        ValueError: An empty token.
    """
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    is_local = _is_loopback(listening.getsockname()[0])
    # The guard asks for more than the SDK's own check, which would refuse the names of a server that others reach.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = Guard(
        server.streamable_http_app(streamable_http_path=PATH, transport_security=unchecked),
        token,
        LOOPBACK | {host.lower()} if is_local else LOOPBACK | {host.lower(), socket.gethostname().lower()},
        any_address=not is_local,
    )
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", ws="none", timeout_graceful_shutdown=_GRACE
    )
    await uvicorn.Server(config).serve(sockets=[listening])
