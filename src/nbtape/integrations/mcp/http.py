"""The MCP server on streamable HTTP: who may call it, and how it is served."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse

from nbtape.common.http_access import LOOPBACK, check_token, is_same_origin, name_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.mcpserver import MCPServer

PATH: Final = "/mcp"

_SHUTDOWN_TIMEOUT_SECONDS: Final = 2


class Guard:
    """ASGI middleware that requires a token, and refuses web pages of other servers (see `nbtape.common.http_access`).

    It follows https://modelcontextprotocol.io/specification/2026-07-28/basic/transports

    Args:
        app: The guarded application.
        token: The token that clients send as `Authorization: Bearer <token>`.
        hosts: The server's own names and addresses, in lower case.
        any_address: Whether any IP address is accepted as the host, for a forwarded port: DNS rebinding needs a name.
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
        """The answer to a request that is not allowed."""
        host, origin, authorization = (_header(scope, name) for name in (b"host", b"origin", b"authorization"))
        if host is None or not self._is_ours(host):
            return PlainTextResponse("This Host is not ours.", 403)
        if origin is not None and not is_same_origin(origin, host):
            return PlainTextResponse("This Origin is not ours.", 403)
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode("latin-1"), self._token):
            why = "Send the token of this server as Authorization: Bearer <token>."
            return PlainTextResponse(why, 401, {"www-authenticate": 'Bearer realm="nbtape"'})  # as RFC 6750 requires
        return None

    def _is_ours(self, host: str) -> bool:
        name = name_in(host)
        return name is not None and (name in self._hosts or (self._any_address and _is_address(name)))


def _header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The value of a header; None if it is missing, and empty, which is refused, if it is repeated."""
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


def listen(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """Listen on a name or address of this machine, and on any free port if `port` is 0.

    Raises a ValueError for an address that other machines can reach, unless `allow_remote` is true.
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
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


async def serve_http(server: MCPServer, listening: socket.socket, token: str, host: str) -> None:
    """Serve clients on streamable HTTP until SIGTERM or Ctrl-C. They may use `host` as the server's name."""
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    is_local = _is_loopback(listening.getsockname()[0])
    # The guard is stricter than the SDK's own check, which would refuse the names of a remote server.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = Guard(
        server.streamable_http_app(streamable_http_path=PATH, transport_security=unchecked),
        token,
        LOOPBACK | {host.lower()} if is_local else LOOPBACK | {host.lower(), socket.gethostname().lower()},
        any_address=not is_local,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_SECONDS,
    )
    await uvicorn.Server(config).serve(sockets=[listening])
